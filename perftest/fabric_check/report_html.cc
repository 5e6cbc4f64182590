#include "perftest/fabric_check/report_html.h"

#include "perftest/fabric_check/page.h"
#include "perftest/fabric_check/report_json.h"

namespace railccl::perftest::fabric {

std::string report_html(const Fabric& fabric, const Verdict& verdict) {
  std::string data =
      report_json(fabric, verdict).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  // Inside of a script element nothing may look like the end of one, or like a comment.
  for (size_t at = data.find('<'); at != std::string::npos; at = data.find('<', at + 6)) {
    data.replace(at, 1, "\\u003c");
  }
  std::string page(kPageBeforeData);
  page += data;
  page += kPageAfterData;
  return page;
}

}  // namespace railccl::perftest::fabric
