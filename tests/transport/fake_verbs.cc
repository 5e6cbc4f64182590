#include "tests/transport/fake_verbs.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

namespace railccl::testing_support {
namespace {

FakeVerbs* current = nullptr;
constexpr uint32_t kInlineBytes = 128;

// What a context has beyond what libibverbs says of it.
struct FakeContext {
  ibv_context base{};
  FakeDevice* device = nullptr;
  std::deque<ibv_async_event> events;
  std::mutex mutex;  // of completions
  std::deque<ibv_wc> completions;
  std::vector<ibv_cq*> asked;  // for an event with their next completion
};
FakeContext& of(ibv_context* context) { return *reinterpret_cast<FakeContext*>(context); }

struct FakeQueuePair {
  ibv_qp base{};
  uint32_t peer = 0;
  std::vector<uint64_t> posted;  // work requests, in order
  struct Receive {
    uint64_t id = 0;
    std::byte* place = nullptr;
  };
  std::deque<Receive> receives;  // where something is delivered
};
FakeQueuePair& of(ibv_qp* pair) { return *reinterpret_cast<FakeQueuePair*>(pair); }

template <typename Object>
Object* make() {
  ++current->objects;
  return new Object();
}

template <typename Object>
int give_back(Object* object) {
  --current->objects;
  delete object;
  return 0;
}

}  // namespace

struct FakeFunctions {
  static ibv_device** get_device_list(int* count) {
    auto** list = new ibv_device*[current->devices_.size() + 1]();
    *count = static_cast<int>(current->devices_.size());
    for (size_t i = 0; i < current->devices_.size(); ++i) list[i] = &current->devices_[i]->device;
    return list;
  }
  static void free_device_list(ibv_device** list) { delete[] list; }
  static const char* get_device_name(ibv_device* device) { return device->name; }
  static ibv_context* open_device(ibv_device* device) {
    for (const auto& one : current->devices_) {
      if (&one->device != device) continue;
      errno = one->open_errno;
      if (one->open_errno != 0) return nullptr;
      auto* context = make<FakeContext>();
      context->device = one.get();
      context->base.device = device;
      context->base.async_fd = eventfd(0, EFD_CLOEXEC);
      context->base.ops.poll_cq = poll_cq;
      context->base.ops.req_notify_cq = [](ibv_cq* queue, int) {
        ++current->events_asked_for;
        of(queue->context).asked.push_back(queue);
        return 0;
      };
      context->base.ops.post_send = [](ibv_qp* pair, ibv_send_wr* request, ibv_send_wr**) {
        for (; request != nullptr; request = request->next) {
          if (current->delivers) {
            deliver(of(pair), *request);
          } else {
            of(pair).posted.push_back(request->wr_id);
          }
        }
        return 0;
      };
      context->base.ops.post_recv = [](ibv_qp* pair, ibv_recv_wr* request, ibv_recv_wr**) {
        if (current->delivers) {
          const std::scoped_lock lock(current->mutex_);
          const ibv_sge& place = request->sg_list[0];
          of(pair).receives.push_back(
              {.id = request->wr_id, .place = current->registered_.at(place.lkey).at(place.addr)});
        } else {
          of(pair).posted.push_back(request->wr_id);
        }
        return 0;
      };
      current->contexts_.push_back(&context->base);
      return &context->base;
    }
    return nullptr;
  }
  static int close_device(ibv_context* context) {
    std::erase(current->contexts_, context);
    ::close(context->async_fd);
    return give_back(&of(context));
  }
  static int query_device(ibv_context* context, ibv_device_attr* attributes) {
    attributes->phys_port_cnt = static_cast<uint8_t>(of(context).device->ports.size());
    attributes->max_cqe = 1 << 20;
    return 0;
  }
  static int query_port(ibv_context* context, uint8_t number, _compat_ibv_port_attr* compat) {
    auto* attributes = reinterpret_cast<ibv_port_attr*>(compat);
    attributes->state = of(context).device->ports.at(number - 1u).state;
    attributes->active_mtu = IBV_MTU_4096;
    attributes->max_msg_sz = 1u << 31;
    attributes->link_layer = IBV_LINK_LAYER_ETHERNET;
    return 0;
  }
  static ssize_t query_gid_table(ibv_context* context, ibv_gid_entry* entries, size_t most,
                                 uint32_t, size_t) {
    size_t count = 0;
    const auto& ports = of(context).device->ports;
    for (size_t port = 0; port < ports.size(); ++port) {
      for (const verbs::GidEntry& gid : ports[port].gids) {
        if (count == most) return -ENOSPC;
        ibv_gid_entry& entry = entries[count++];
        entry = {};
        std::memcpy(entry.gid.raw, gid.gid.data(), gid.gid.size());
        entry.gid_index = gid.index;
        entry.port_num = static_cast<uint32_t>(port + 1);
        entry.gid_type =
            gid.type == verbs::GidType::kRoceV1 ? IBV_GID_TYPE_ROCE_V1 : IBV_GID_TYPE_ROCE_V2;
      }
    }
    return static_cast<ssize_t>(count);
  }
  static ibv_pd* alloc_pd(ibv_context* context) {
    auto* pd = make<ibv_pd>();
    pd->context = context;
    return pd;
  }
  static ibv_mr* reg_mr(ibv_pd* pd, void* address, size_t bytes, uint64_t iova, unsigned) {
    errno = current->register_errno;
    if (current->register_errno != 0) return nullptr;
    auto* mr = make<ibv_mr>();
    mr->context = pd->context;
    mr->addr = address;
    mr->length = bytes;
    const std::scoped_lock lock(current->mutex_);
    mr->lkey = mr->rkey = ++current->last_number_;
    current->registered_[mr->lkey] = {.address = static_cast<std::byte*>(address), .iova = iova};
    return mr;
  }
  static int dereg_mr(ibv_mr* mr) {
    const std::scoped_lock lock(current->mutex_);
    current->registered_.erase(mr->lkey);
    return give_back(mr);
  }
  static ibv_comp_channel* create_channel(ibv_context* context) {
    auto* channel = make<ibv_comp_channel>();
    channel->context = context;
    channel->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    return channel;
  }
  static int destroy_channel(ibv_comp_channel* channel) {
    ::close(channel->fd);
    return give_back(channel);
  }
  static ibv_cq* create_cq(ibv_context* context, int entries, void* user, ibv_comp_channel* channel,
                           int) {
    auto* cq = make<ibv_cq>();
    cq->context = context;
    cq->cqe = entries;
    cq->cq_context = user;
    cq->channel = channel;
    return cq;
  }
  static ibv_qp* create_qp(ibv_pd* pd, ibv_qp_init_attr* attributes) {
    ibv_qp& qp = make<FakeQueuePair>()->base;
    qp.context = pd->context;
    qp.qp_context = attributes->qp_context;
    const std::scoped_lock lock(current->mutex_);
    qp.qp_num = ++current->last_number_;
    current->queue_pairs_[qp.qp_num] = &qp;
    attributes->cap.max_inline_data = current->delivers ? kInlineBytes : 0;
    return &qp;
  }
  static int destroy_qp(ibv_qp* pair) {
    current->on_destroy_queue_pair();
    const std::scoped_lock lock(current->mutex_);
    current->queue_pairs_.erase(pair->qp_num);
    return give_back(&of(pair));
  }
  static int modify_qp(ibv_qp* pair, ibv_qp_attr* attributes, int) {
    if (attributes->qp_state == IBV_QPS_ERR && current->flushes) flush(of(pair));
    if (attributes->qp_state != IBV_QPS_RTR) return 0;
    of(pair).peer = attributes->dest_qp_num;
    if (current->receives_early) receive(of(pair));
    current->on_ready_to_receive();
    return current->ready_to_receive_errno;
  }
  static void flush(FakeQueuePair& pair) {
    for (const uint64_t id : pair.posted) push(pair, id, IBV_WC_WR_FLUSH_ERR);
    pair.posted.clear();
    const std::scoped_lock lock(current->mutex_);
    for (const auto& receive : pair.receives) push(pair, receive.id, IBV_WC_WR_FLUSH_ERR);
    pair.receives.clear();
  }
  static void deliver(const FakeQueuePair& pair, const ibv_send_wr& request) {
    const std::scoped_lock lock(current->mutex_);
    FakeQueuePair& peer = of(current->queue_pairs_.at(pair.peer));
    const bool writes = request.opcode == IBV_WR_RDMA_WRITE;
    if (!writes && peer.receives.empty()) return push(pair, request.wr_id, IBV_WC_RETRY_EXC_ERR);
    std::byte* place =
        writes ? current->registered_.at(request.wr.rdma.rkey).at(request.wr.rdma.remote_addr)
               : peer.receives.front().place;
    uint32_t bytes = 0;
    for (int i = 0; i < request.num_sge; ++i) {
      const ibv_sge& piece = request.sg_list[i];
      const bool is_inline = (request.send_flags & IBV_SEND_INLINE) != 0;
      std::memcpy(place + bytes,
                  is_inline ? reinterpret_cast<const std::byte*>(piece.addr)
                            : current->registered_.at(piece.lkey).at(piece.addr),
                  piece.length);
      bytes += piece.length;
    }
    if (!writes) {
      push(peer, peer.receives.front().id, IBV_WC_SUCCESS, bytes);
      peer.receives.pop_front();
    }
    if ((request.send_flags & IBV_SEND_SIGNALED) != 0) push(pair, request.wr_id, IBV_WC_SUCCESS);
  }
  static void receive(FakeQueuePair& pair) {
    push(pair, pair.posted.front(), IBV_WC_SUCCESS);
    pair.posted.erase(pair.posted.begin());
  }
  static void push(const FakeQueuePair& pair, uint64_t id, ibv_wc_status status,
                   uint32_t bytes = 0) {
    ibv_wc completion{};
    completion.wr_id = id;
    completion.status = status;
    completion.byte_len = bytes;
    FakeContext& context = of(pair.base.context);
    const std::scoped_lock lock(context.mutex);
    context.completions.push_back(completion);
  }
  static int poll_cq(ibv_cq* queue, int most, ibv_wc* completions) {
    const std::scoped_lock lock(of(queue->context).mutex);
    auto& ready = of(queue->context).completions;
    int count = 0;
    for (; count < most && !ready.empty(); ++count) {
      completions[count] = ready.front();
      ready.pop_front();
    }
    return count;
  }
  static int get_cq_event(ibv_comp_channel* channel, ibv_cq**, void**) {
    uint64_t one = 0;
    if (::read(channel->fd, &one, sizeof one) < 0) return -1;
    ++current->events_taken;
    return 0;
  }
  static int get_async_event(ibv_context* context, ibv_async_event* event) {
    auto& events = of(context).events;
    errno = EAGAIN;
    if (events.empty()) return -1;
    *event = events.front();
    events.pop_front();
    uint64_t ignored = 0;
    if (events.empty() && ::read(context->async_fd, &ignored, sizeof ignored) < 0) return -1;
    return 0;
  }
};

FakeDevice::FakeDevice(const std::string& name) {
  name.copy(device.name, sizeof device.name - 1);
  ("uverbs-of-" + name).copy(device.dev_name, sizeof device.dev_name - 1);
  const std::string path = "/nowhere/" + name;
  path.copy(device.ibdev_path, sizeof device.ibdev_path - 1);
}

FakeVerbs::FakeVerbs() {
  EXPECT_EQ(current, nullptr);
  current = this;
  using F = FakeFunctions;
  api_ = {.get_device_list = F::get_device_list,
          .free_device_list = F::free_device_list,
          .get_device_name = F::get_device_name,
          .open_device = F::open_device,
          .close_device = F::close_device,
          .query_device = F::query_device,
          .query_port = F::query_port,
          .query_gid_table = F::query_gid_table,
          .alloc_pd = F::alloc_pd,
          .dealloc_pd = give_back<ibv_pd>,
          .reg_mr_iova2 = F::reg_mr,
          .dereg_mr = F::dereg_mr,
          .create_comp_channel = F::create_channel,
          .destroy_comp_channel = F::destroy_channel,
          .create_cq = F::create_cq,
          .destroy_cq = give_back<ibv_cq>,
          .get_cq_event = F::get_cq_event,
          .ack_cq_events = [](ibv_cq*, unsigned) {},
          .create_qp = F::create_qp,
          .modify_qp = F::modify_qp,
          .destroy_qp = F::destroy_qp,
          .get_async_event = F::get_async_event,
          .ack_async_event = [](ibv_async_event*) {},
          .wc_status_str = [](ibv_wc_status) { return "a status"; },
          .event_type_str =
              [](ibv_event_type type) {
                return type == IBV_EVENT_PORT_ERR       ? "port error"
                       : type == IBV_EVENT_GID_CHANGE   ? "GID table change"
                       : type == IBV_EVENT_DEVICE_FATAL ? "local catastrophic error"
                                                        : "an event";
              },
          .port_state_str =
              [](ibv_port_state state) {
                return state == IBV_PORT_ACTIVE ? "PORT_ACTIVE" : "PORT_DOWN";
              }};
}

FakeVerbs::~FakeVerbs() {
  EXPECT_EQ(objects, 0) << "not given back";
  current = nullptr;
}

void FakeVerbs::complete(const FakeDevice& device) {
  for (ibv_context* context : contexts_) {
    if (of(context).device != &device) continue;
    const std::scoped_lock lock(of(context).mutex);
    of(context).completions.push_back({});
  }
  ring(device);
}

void FakeVerbs::ring(const FakeDevice& device) {
  const uint64_t one = 1;
  for (ibv_context* context : contexts_) {
    if (of(context).device != &device) continue;
    for (const ibv_cq* queue : std::exchange(of(context).asked, {})) {
      EXPECT_EQ(::write(queue->channel->fd, &one, sizeof one), ssize_t{sizeof one});
    }
  }
}

std::vector<verbs::GidEntry> gids_of(const std::string& ipv4) {
  verbs::GidEntry entry{.index = 0, .type = verbs::GidType::kRoceV1};
  entry.gid[10] = entry.gid[11] = 0xff;
  EXPECT_EQ(inet_pton(AF_INET, ipv4.c_str(), entry.gid.data() + 12), 1);
  verbs::GidEntry second = entry;
  second.index = 1;
  second.type = verbs::GidType::kRoceV2;
  return {entry, second};
}

FakeDevice& FakeVerbs::add_device(const std::string& name, const std::string& ipv4) {
  devices_.push_back(std::make_unique<FakeDevice>(name));
  devices_.back()->ports.push_back({.gids = gids_of(ipv4)});
  return *devices_.back();
}

void FakeVerbs::raise(const FakeDevice& device, ibv_event_type type, int port) {
  for (ibv_context* context : contexts_) {
    if (of(context).device != &device) continue;
    ibv_async_event event{};
    event.event_type = type;
    event.element.port_num = port;
    of(context).events.push_back(event);
    const uint64_t one = 1;
    EXPECT_EQ(::write(context->async_fd, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  }
}

}  // namespace railccl::testing_support
