#include "perftest/rail_perf/follower.h"

#include "perftest/rail_perf/content.h"
#include "perftest/rail_perf/ping_pong.h"

namespace railccl::perftest::railperf {

Status Follower::run() {
  for (;;) {
    RAILCCL_ASSIGN(const Incoming incoming, session_.receive());
    if (incoming.kind != Kind::kOrder) {
      return error(Code::kPeerFailed, "a message of kind {} in place of an order",
                   static_cast<int>(incoming.kind));
    }
    RAILCCL_ASSIGN(const Order order, decode_order(incoming.body));
    session_.end_activity();
    RAILCCL_TRY(session_.send(encode(obey(order))));
    if (order.task == Task::kEnd) return Status::ok();
  }
}

Answer Follower::obey(const Order& order) {
  Answer answer{.task = order.task, .error = {}, .first_mistake = {}};
  const bool on_link = order.task != Task::kPrepare && order.task != Task::kEnd;
  const uint64_t area = session_.receive_area().size();
  Status status;
  if (on_link && order.link >= session_.links()) {
    status = error(Code::kPeerFailed, "there is no link {}", order.link);
  } else if (order.window > 0 && order.bytes > area / order.window) {
    status = error(Code::kPeerFailed, "{} puts of {} bytes: more than was prepared", order.window,
                   order.bytes);
  } else {
    status = obey(order, answer);
  }
  answer.error = status.message();
  return answer;
}

Status Follower::obey(const Order& order, Answer& answer) {
  switch (order.task) {
    case Task::kPrepare:
      return prepare(order);
    case Task::kState:
      return session_.await_connected(order.link);
    case Task::kExpect:
      return expect(order);
    case Task::kCompare:
      compare(order, answer);
      return session_.link_status(order.link);
    case Task::kFill:
      return fill(order);
    case Task::kReceive:
      keep(order.link, std::make_unique<Receiver>());
      return session_.link_status(order.link);
    case Task::kReturn:
      keep(order.link,
           std::make_unique<Ponger>(session_.slots(order.link, order.bytes, order.window)));
      return session_.link_status(order.link);
    case Task::kStream:
      return stream(order, answer);
    case Task::kEnd:
      session_.close_links();
      return Status::ok();
  }
  return error(Code::kInternalError, "an order was checked but not handled");
}

Status Follower::prepare(const Order& order) {
  RAILCCL_TRY(session_.make_buffers(order.bytes));
  for (const uint32_t bits : order.links) {
    std::vector<LinkOptions::Pair> chosen;
    for (size_t i = 0; i < pairs_.size(); ++i) {
      if ((bits >> i & 1) != 0) chosen.push_back(pairs_[i]);
    }
    RAILCCL_TRY(session_.open_link(chosen));
  }
  return session_.offer_links();
}

void Follower::keep(uint32_t link, std::unique_ptr<Activity> activity) {
  resident_ = std::move(activity);
  session_.begin(link, *resident_);
}

Status Follower::expect(const Order& order) {
  fill_wrong(session_.receive_area(), order.content());
  fill_guard(session_.guard());
  auto receiver = std::make_unique<Receiver>();
  receiver_ = receiver.get();
  keep(order.link, std::move(receiver));
  return session_.link_status(order.link);
}

void Follower::compare(const Order& order, Answer& answer) {
  answer.puts = receiver_ != nullptr ? receiver_->puts() : 0;
  receiver_ = nullptr;
  Comparison found = railperf::compare(session_.receive_area(), order.content());
  const Comparison beyond = compare_guard(session_.guard());
  if (found.wrong == 0) found.first_mistake = beyond.first_mistake;
  answer.wrong = found.wrong + beyond.wrong;
  answer.first_mistake = std::move(found.first_mistake);
}

Status Follower::fill(const Order& order) {
  railperf::fill(session_.send_area(), order.content());
  PutStream stream(session_.slots(order.link, order.bytes, order.window),
                   {.iterations = order.window}, times_);
  return session_.run(order.link, stream);
}

Status Follower::stream(const Order& order, Answer& answer) {
  PutStream stream(session_.slots(order.link, order.bytes, order.window),
                   {.iterations = order.iterations, .time_ns = order.time_ns}, times_);
  RAILCCL_TRY(session_.run(order.link, stream));
  const Stream result = stream.result();
  answer.puts = result.puts;
  answer.elapsed_ns = static_cast<uint64_t>(result.seconds * 1e9);
  answer.peak_puts_per_second = result.peak_puts_per_second;
  return Status::ok();
}

}  // namespace railccl::perftest::railperf
