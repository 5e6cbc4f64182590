#include "perftest/rail_perf/measured_link.h"

namespace railccl::perftest::railperf {

Result<std::unique_ptr<MeasuredLink>> MeasuredLink::create(uint32_t number,
                                                           const LinkOptions& options,
                                                           RailHost& host, Send send) {
  std::unique_ptr<MeasuredLink> measured(new MeasuredLink(number, host, std::move(send)));
  measured->tag_base_ = host.add_endpoint_sink(measured.get());
  RAILCCL_ASSIGN(measured->link_,
                 Link::create(options, host.rails(), measured->tag_base_, *measured));
  return measured;
}

MeasuredLink::~MeasuredLink() { host_.remove_endpoint_sink(tag_base_); }

std::vector<std::byte> MeasuredLink::offer(const RegisteredBuffer& target) const {
  return encode(number_, LinkOffer{.target = describe(target), .address = link_->address()});
}

Status MeasuredLink::on_offer(const LinkOffer& offer, TimeNs now) {
  target_ = offer.target;
  return link_->connect(offer.address, now);
}

Status MeasuredLink::on_frame(std::span<const std::byte> frame, TimeNs now) {
  return link_->on_control_path(frame, now);
}

bool MeasuredLink::progress(TimeNs now) {
  now_ = now;
  bool worked = link_->progress(now);
  if (!busy()) return worked;
  const Result<bool> stepped = activity_->step(*link_, now);
  if (!stepped) fail(stepped.error());
  return !stepped || *stepped || worked;
}

void MeasuredLink::fail(const Status& status) {
  if (status_.is_ok()) status_ = status;
}

void MeasuredLink::on_endpoint_event(int pair, const RailEvent& event, TimeNs now) {
  now_ = now;
  link_->on_rail_event(pair, event, now);
}

void MeasuredLink::on_port_event(int local_rail, const RailEvent& event, TimeNs now) {
  now_ = now;
  link_->on_port_event(local_rail, event, now);
}

void MeasuredLink::on_connected(int /*peer*/) { connected_ = true; }

void MeasuredLink::on_put_done(int /*peer*/, uint64_t /*token*/, const Status& status) {
  alive_at_ = now_;
  if (!status) return fail(status);
  if (activity_ != nullptr) activity_->on_put_done();
}

void MeasuredLink::on_notification(int /*peer*/, uint64_t tag) {
  alive_at_ = now_;
  if (activity_ != nullptr) activity_->on_notification(tag);
}

void MeasuredLink::on_message(int /*peer*/, std::span<const std::byte> message) {
  alive_at_ = now_;
  if (activity_ != nullptr) activity_->on_message(message);
}

void MeasuredLink::on_failed(int /*peer*/, const Status& status) { fail(status); }

void MeasuredLink::send_on_control_path(int /*peer*/, std::span<const std::byte> bytes) {
  send_(encode(number_, bytes));
}

}  // namespace railccl::perftest::railperf
