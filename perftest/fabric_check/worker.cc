#include "perftest/fabric_check/worker.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "perftest/common/text_call.h"
#include "perftest/fabric_check/at_once_test.h"
#include "perftest/fabric_check/checked_collective.h"
#include "perftest/fabric_check/counters.h"
#include "perftest/fabric_check/drill.h"
#include "perftest/fabric_check/pair_test.h"
#include "perftest/fabric_check/subnet.h"
#include "perftest/fabric_check/wire.h"

namespace railccl::perftest::fabric {
namespace {

// What the library says of this rank's rails and of the nodes.
Outcome<Json> explanation(ncclComm_t comm) {
  const auto text = text_of("railcclExplain", [&](char* buffer, size_t capacity, size_t* length) {
    return railcclExplain(comm, nullptr, railcclJson, buffer, capacity, length);
  });
  if (!text) return tl::unexpected(text.error());
  return Json::parse(*text);
}

std::string host_name() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return host.data();
}

Outcome<std::vector<Rail>> own_rails(ncclComm_t world) {
  const auto all = explanation(world);
  if (!all) return tl::unexpected(all.error());
  const auto interfaces = interface_addresses();
  std::vector<Rail> rails;
  for (const Json& rail : all->at("rails")) {
    const auto address = rail.at("address").get<std::string>();
    rails.push_back({.name = rail.at("name").get<std::string>(),
                     .transport = rail.at("transport").get<std::string>(),
                     .address = address,
                     .subnet = subnet_of(address, interfaces)});
  }
  return rails;
}

}  // namespace

Json Worker::carry_out(const Json& command) {
  try {
    Json answer = as_answer(dispatch(command));
    if (std::exchange(trouble_, false)) answer["trouble"] = true;
    return answer;
  } catch (const Json::exception& error) {
    return as_answer(failure(Exit::kLibrary, "a command that makes no sense: {}", error.what()));
  }
}

Outcome<Json> Worker::dispatch(const Json& command) {
  const auto what = command.at("do").get<std::string>();
  if (what == "describe") return describe();
  if (what == "counters") return counters();
  if (what == "pair") return pair(command);
  if (what == "join") return join(command);
  if (what == "leave") return leave(command);
  if (what == "at_once") return at_once(command);
  if (what == "collective") return collective(command);
  if (what == "drill") return drill(command);
  return failure(Exit::kLibrary, "a command '{}' that this rank does not know", what);
}

Outcome<Json> Worker::describe() {
  const auto rails = own_rails(world_);
  if (!rails) return tl::unexpected(rails.error());
  const auto all = explanation(world_);
  if (!all) return tl::unexpected(all.error());
  return Json{{"host", host_name()}, {"rails", *rails}, {"nodes", all->at("nodes")}};
}

Outcome<Json> Worker::counters() {
  const auto rails = own_rails(world_);
  if (!rails) return tl::unexpected(rails.error());
  Json all = Json::array();
  for (const Rail& rail : *rails) all.push_back(read_counters(settings_.sysfs_root, rail));
  return all;
}

Outcome<Json> Worker::pair(const Json& command) {
  const auto id = id_from_json(command.at("id"));
  if (!id) return tl::unexpected(id.error());
  const auto session = Session::join({.id = *id, .ranks = 2, .rank = command.at("rank").get<int>()},
                                     Seconds(settings_.patience_s));
  if (!session) return tl::unexpected(session.error());
  const PairSide side = measure_pair(**session, {.rails = command.at("rails").get<int>(),
                                                 .seconds = command.at("seconds").get<double>()});
  const auto failed = [](const PairValue& value) { return value.state == PairState::kFailed; };
  trouble_ = failed(side.all_rails) || std::ranges::any_of(side.rails, failed);
  return Json(side);
}

Outcome<Json> Worker::join(const Json& command) {
  const auto id = id_from_json(command.at("id"));
  if (!id) return tl::unexpected(id.error());
  auto session = Session::join(
      {.id = *id, .ranks = command.at("ranks").get<int>(), .rank = command.at("rank").get<int>()},
      Seconds(settings_.patience_s));
  if (!session) return tl::unexpected(session.error());
  sessions_[command.at("name").get<std::string>()] = std::move(*session);
  return Json(nullptr);
}

Outcome<Json> Worker::leave(const Json& command) {
  sessions_.erase(command.at("name").get<std::string>());
  return Json(nullptr);
}

Outcome<Session*> Worker::session(const Json& command) {
  const auto name = command.at("name").get<std::string>();
  const auto found = sessions_.find(name);
  if (found == sessions_.end()) return failure(Exit::kLibrary, "no session '{}'", name);
  return found->second.get();
}

Outcome<Json> Worker::at_once(const Json& command) {
  const auto session = this->session(command);
  if (!session) return tl::unexpected(session.error());
  const auto side =
      measure_at_once(**session, {.rails = command.at("rails").get<std::vector<bool>>(),
                                  .seconds = command.at("seconds").get<double>(),
                                  .gbps = command.at("gbps").get<double>()});
  if (!side) return tl::unexpected(side.error());
  return Json(*side);
}

Outcome<Json> Worker::collective(const Json& command) {
  const auto session = this->session(command);
  if (!session) return tl::unexpected(session.error());
  const auto name = command.at("collective").get<std::string>();
  const Collective* collective = find_collective(name);
  if (collective == nullptr) return failure(Exit::kLibrary, "no collective '{}'", name);
  const auto result = check_collective(*collective, **session, command.at("bytes").get<uint64_t>());
  if (!result) return tl::unexpected(result.error());
  return Json(*result);
}

Outcome<Json> Worker::drill(const Json& command) {
  const auto session = this->session(command);
  if (!session) return tl::unexpected(session.error());
  const auto result = run_drill(**session, {.rail = command.at("rail").get<int>(),
                                            .bytes = command.at("bytes").get<uint64_t>(),
                                            .operations = command.at("operations").get<int>()});
  if (!result) return tl::unexpected(result.error());
  return Json(*result);
}

}  // namespace railccl::perftest::fabric
