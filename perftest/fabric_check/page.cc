#include "perftest/fabric_check/page.h"

namespace railccl::perftest::fabric {

const std::string_view kPageBeforeData = R"html(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fabric_check</title>
<style>
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5c6775; --paper: #ffffff; --line: #d5dbe3;
  --panel: #f5f7fa; --bad: #c62828; --good: #2e7d32; --note: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa5b3; --paper: #14181e;
  --line: #313a46; --panel: #1c222a; --bad: #ff6b60; --good: #66bb6a; --note: #e0b040; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 0 auto; padding: 24px; max-width: 1200px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 32px 0 8px; }
.verdict { display: inline-block; padding: 2px 12px; border-radius: 4px; color: #fff; font-weight: 600; }
.verdict.pass { background: #2e7d32; } .verdict.fail { background: #c62828; } .verdict.incomplete { background: #9a6700; }
.soft { color: var(--soft); }
ul.findings { list-style: none; padding: 0; }
ul.findings li { padding: 8px 12px; margin: 6px 0; background: var(--panel); border-left: 4px solid var(--note);
  white-space: pre-line; overflow-wrap: anywhere; }
ul.findings li.fails { border-color: var(--bad); }
ul.findings b { margin-right: 8px; }
.maps { display: flex; flex-wrap: wrap; gap: 32px; }
.map { overflow-x: auto; max-width: 100%; }
.map h3 { font-size: 15px; margin: 8px 0 2px; } .map p { margin: 0 0 6px; font-size: 13px; max-width: 320px; }
svg text { font: 11px system-ui, sans-serif; fill: var(--ink); }
svg .value { text-anchor: middle; dominant-baseline: central; pointer-events: none; }
svg .cell { stroke: var(--paper); stroke-width: 1; } svg .cell.bad { stroke: var(--bad); stroke-width: 3; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: 4px 12px; text-align: right; }
th { font-weight: 600; color: var(--soft); } th:first-child, td:first-child { text-align: left; }
.scroll { overflow-x: auto; }
label { margin-right: 16px; }
</style>
</head>
<body>
<main id="main"></main>
<script id="data" type="application/json">)html";

const std::string_view kPageAfterData = R"html(</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main");
const names = data.nodes.map(node => node.name);
let metric = "gbps";

function element(name, attributes, ...children) {
  const svg = ["svg", "rect", "text", "title", "g"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.map(child => child instanceof Node ? child : String(child)));
  return made;
}
const short = value => value === 0 ? "0" : Number(value.toPrecision(3)).toString();

// From what is bad (dark red) over half of the best (yellow) to the best (blue); also without colour
// vision by lightness.
function colour(share) {
  const stops = [[103, 0, 31], [214, 96, 77], [253, 219, 140], [146, 197, 222], [33, 102, 172]];
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const index = Math.min(Math.floor(place), stops.length - 2);
  const mixed = stops[index].map((from, i) => Math.round(from + (stops[index + 1][i] - from) * (place - index)));
  return { fill: `rgb(${mixed.join(",")})`, ink: place > 1.2 && place < 3.3 ? "#1c2430" : "#ffffff" };
}

function cellOf(way, best, wanted, size) {
  const measured = way && way.state === "measured";
  const value = measured ? way[metric] : 0;
  const share = metric === "gbps" ? value / best : value > 0 ? best / value : 0;
  const look = measured ? colour(share) : { fill: way && way.state !== "not_measured" ? "#000000" : "var(--line)", ink: "#ffffff" };
  const bad = way && (way.state === "unreachable" || way.state === "failed" ||
    (measured && (way.gbps < wanted || way.wrong > 0)));
  const text = !way ? "" : measured ? short(value) : way.state === "not_measured" ? "" : "\u2717";
  return { look, bad, text: size >= 30 ? text : (bad && !measured ? "\u2717" : "") };
}

function tip(from, to, way) {
  const head = `${names[from]} \u2192 ${names[to]}: `;
  if (way.state !== "measured") return head + way.state.replace("_", " ") + (way.error ? ": " + way.error : "");
  return head + `${short(way.gbps)} Gbit/s, ${short(way.latency_us)} us` + (way.wrong ? `, ${way.wrong} wrong elements` : "");
}

function heatMap(matrix, wanted) {
  const count = matrix.length;
  const size = Math.max(8, Math.min(48, Math.floor(900 / count)));
  const margin = size >= 11 ? 8 + 7 * Math.max(...names.map(name => name.length)) : 8;
  const values = matrix.flat().filter(way => way && way.state === "measured").map(way => way[metric]);
  const best = values.length === 0 ? 1 : metric === "gbps" ? Math.max(...values) : Math.min(...values.filter(v => v > 0));
  const side = margin + count * size + 2;
  const svg = element("svg", { width: side, height: side, role: "img", "aria-label": "matrix of " + count + " nodes" });
  for (let from = 0; from < count; ++from) {
    if (size >= 11) {
      const middle = margin + (from + 0.5) * size;
      svg.append(element("text", { x: margin - 6, y: middle, "text-anchor": "end", "dominant-baseline": "central" }, names[from]));
      svg.append(element("text", { x: 0, y: 0, transform: `translate(${middle},${margin - 6}) rotate(-90)`, "dominant-baseline": "central" }, names[from]));
    }
    for (let to = 0; to < count; ++to) {
      const way = matrix[from][to];
      if (!way) continue;
      const cell = cellOf(way, best, wanted, size);
      const x = margin + to * size, y = margin + from * size;
      const rect = element("rect", { x: x + 1, y: y + 1, width: size - 2, height: size - 2, fill: cell.look.fill,
        class: "cell" + (cell.bad ? " bad" : ""), "data-from": from, "data-to": to }, element("title", {}, tip(from, to, way)));
      svg.append(rect);
      if (cell.text) svg.append(element("text", { class: "value", x: x + size / 2, y: y + size / 2, style: "fill:" + cell.look.ink }, cell.text));
    }
  }
  return svg;
}

function mapPanel(title, detail, matrix, wanted) {
  return element("div", { class: "map" }, element("h3", {}, title), element("p", { class: "soft" }, detail), heatMap(matrix, wanted));
}

function table(heads, rows) {
  return element("div", { class: "scroll" }, element("table", {},
    element("tr", {}, ...heads.map(head => element("th", {}, head))),
    ...rows.map(row => element("tr", {}, ...row.map(value => element("td", {}, value))))));
}

function drawMaps(target) {
  const first = data.nodes[0] ? data.nodes[0].rails : [];
  target.replaceChildren(...data.rails.map(rail => mapPanel(
    `rail ${rail.rail}` + (first[rail.rail] ? ` (${first[rail.rail].transport} ${first[rail.rail].name})` : ""),
    `median ${short(rail.median_gbps)} Gbit/s, spread ${short(rail.spread_gbps)}, wanted ${short(rail.wanted_gbps)}; ` +
    `latency ${short(rail.latency_us)} us; ${rail.bad} of ${rail.measured} ways out of line`,
    rail.matrix, rail.wanted_gbps)));
  if (data.rails.length > 1) target.append(mapPanel("all rails together", "", data.all_rails, 0));
}

function section(title, ...children) {
  if (children.length > 0) main.append(element("h2", {}, title), ...children);
}

function draw() {
  main.append(element("h1", {}, "fabric_check ", element("span", { class: "verdict " + data.verdict }, data.verdict)));
  main.append(element("p", { class: "soft" }, `${data.nodes.length} nodes, ${data.rails.length} rails, ` +
    `${data.nodes.reduce((sum, node) => sum + node.ranks.length, 0)} ranks`));
  const findings = [
    ...data.missing.map(each => ({ fails: true, mark: "MISSING", text: `${each.node || "part of the check"}, stage '${each.stage}': ${each.why}` })),
    ...data.findings.map(each => ({ fails: each.fails, mark: each.fails ? "FAIL" : "note", text: each.text }))];
  if (findings.length > 0) {
    section("Findings", element("ul", { class: "findings" }, ...findings.map(each =>
      element("li", { class: each.fails ? "fails" : "" }, element("b", {}, each.mark), each.text))));
  }
  if (data.rails.length > 0) {
    const maps = element("div", { class: "maps" });
    const choice = element("p", {}, ...[["gbps", "Gbit/s"], ["latency_us", "latency, us"]].map(([value, text]) => {
      const radio = element("input", { type: "radio", name: "metric", value });
      radio.checked = value === metric;
      radio.addEventListener("change", () => { metric = value; drawMaps(maps); });
      return element("label", {}, radio, " " + text);
    }));
    section("Pairs", element("p", { class: "soft" }, "Rows send, columns receive. Outlined: out of line. Point at a cell for its numbers."), choice, maps);
    drawMaps(maps);
  }
  const numbers = (title, heads, rows) => { if (rows.length > 0) section(title, table(heads, rows)); };
  numbers("All nodes at once", ["rail", "Gbit/s", "one by one", "share"], data.all_at_once.map(each => each.left_out ?
    [each.rail, each.left_out, "", ""] : [each.rail, short(each.gbps), short(each.one_by_one_gbps),
    each.one_by_one_gbps > 0 ? Math.round(100 * each.gbps / each.one_by_one_gbps) + " %" : ""]));
  numbers("Collectives", ["collective", "bytes", "us", "bus Gbit/s", "wrong"], data.collectives.map(each =>
    [each.name, each.bytes, short(each.time_us), short(each.bus_gbps), each.wrong]));
  numbers("Failover drill", ["rail", "operations", "wrong", "usual ms", "stall ms", "back after ms", "sent again"], data.drills.map(each =>
    each.left_out ? [each.rail, each.left_out, "", "", "", "", ""] : [each.rail, each.operations, each.wrong, short(each.usual_ms),
    Math.round(each.stall_ms), each.came_back ? Math.round(each.back_after_ms) : "never", each.replayed_bytes]));
  numbers("Counters that moved", ["node", "rail", "counter", "by", "meaning"], data.counters.map(each =>
    [each.node, each.rail, each.counter, each.after - each.before, each.meaning]));
  numbers("Nodes", ["node", "ranks", "rails"], data.nodes.map(node => [node.name, node.ranks.join(", "),
    node.rails.map(rail => `${rail.name} ${rail.address}`).join(", ")]));
}
draw();
</script>
</body>
</html>
)html";

}  // namespace railccl::perftest::fabric
