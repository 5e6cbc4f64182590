#include "transport/link.h"

#include <algorithm>

#include "transport/link_impl.h"

namespace railccl {
namespace {

Status check(const LinkOptions& options, std::span<Rail* const> rails) {
  if (options.self == options.peer) {
    return error(Code::kInvalidArgument, "a link from rank {} to itself", options.self);
  }
  if (options.pairs.empty() || options.pairs.size() > wire::kMaxPairs) {
    return error(Code::kInvalidArgument, "{} rail pairs between rank {} and rank {}: 1 to {}",
                 options.pairs.size(), options.self, options.peer, wire::kMaxPairs);
  }
  for (const LinkOptions::Pair& pair : options.pairs) {
    const auto local = static_cast<size_t>(pair.local_rail);
    if (pair.local_rail < 0 || local >= rails.size() || rails[local] == nullptr ||
        pair.peer_rail < 0) {
      return error(Code::kInvalidArgument, "rail pair {} to {} to rank {}: there are {} rails here",
                   pair.local_rail, pair.peer_rail, options.peer, rails.size());
    }
  }
  if (options.rail_timeout_ns == 0 || options.link_timeout_ns == 0 || options.probe_pause_ns == 0) {
    return error(Code::kInvalidArgument, "a link needs timeouts and pauses above zero");
  }
  return Status::ok();
}

}  // namespace

RemoteBuffer describe(const RegisteredBuffer& buffer) {
  RemoteBuffer remote{.rail_keys = {}, .bytes = buffer.region.bytes};
  for (const auto& registration : buffer.on_rail) {
    remote.rail_keys.push_back(registration == nullptr ? 0 : registration->key());
  }
  return remote;
}

Result<std::unique_ptr<Link>> Link::create(const LinkOptions& options, std::span<Rail* const> rails,
                                           uint64_t endpoint_tag_base, LinkSink& sink) {
  RAILCCL_TRY(check(options, rails));
  LinkOptions checked = options;
  checked.small_put_bytes = std::max<uint64_t>(options.small_put_bytes, 1);
  checked.probe_pause_max_ns = std::max(options.probe_pause_max_ns, options.probe_pause_ns);
  auto link = std::make_unique<LinkImpl>(checked, sink);
  RAILCCL_TRY(link->init(rails, endpoint_tag_base));
  return link;
}

}  // namespace railccl
