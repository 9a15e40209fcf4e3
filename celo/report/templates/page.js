"use strict";
// Draws the charts of a report from the JSON in this file. Everything is drawn when it comes into
// view, and everything before printing. Texts of others only ever become text nodes.
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const drawing = JSON.parse(document.getElementById("drawing").textContent);
  const { names, labels, styles, specs, panels, horizon } = drawing;
  const details = report.details;
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;

  // --- theme

  const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const dark = () => !printing && (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);

  function config() {
    const [ink, soft, line] = dark() ? ["#e9ecf1", "#a6adb8", "#363c46"] : ["#1b1e23", "#565c66", "#d5d9df"];
    const font = "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif";
    return {
      background: null, font, view: { stroke: null },
      axis: {
        labelColor: soft, titleColor: soft, gridColor: line, domainColor: soft, tickColor: soft,
        gridOpacity: 0.6, labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal", labelOverlap: true,
      },
      axisY: { labelColor: ink }, rule: { color: soft },
    };
  }
  const styleOf = (index) => {
    const style = styles[index];
    return { colour: dark() ? style.dark : style.light, dash: style.dash.length ? style.dash : [1, 0], marker: style.marker };
  };

  // --- curves: decoded once, smoothed when asked for

  function codes(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Array.from({ length: bytes.length / 2 }, (_, i) => view.getUint16(2 * i, true));
  }
  function decoded(panel) {
    if (panel.decoded) return panel.decoded;
    const value = (q) => q === 65535 ? NaN : q === 65534 ? Infinity : panel.unit * Math.sinh(panel.low + q * panel.step);
    panel.decoded = panel.lines.map((line) => ({ ...line, xs: line.xs || panel.xs, ys: codes(line.ys).map(value) }));
    return panel.decoded;
  }
  // The rule of the scores: a NaN repeats what was before it, nothing after an infinity is finite.
  function smoothed(ys, ema) {
    let last = NaN;
    return ys.map((y, i) => (last = i === 0 ? y : Number.isNaN(y) ? last : ema * last + (1 - ema) * y));
  }
  function median(sorted) {
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
  function curveRows(panel, chosen, ema, bands, logX, logY) {
    const rows = [], ends = [], starts = [], finite = [];
    const decay = Math.pow(ema, panel.stride);
    for (const index of chosen) {
      const lines = decoded(panel).filter((line) => line.name === index);
      const byX = new Map();
      for (const line of lines) {
        const ys = smoothed(line.ys, decay);
        let last = null;
        line.xs.forEach((x, i) => {
          if (!Number.isFinite(line.ys[i])) { if (!byX.has(x)) byX.set(x, []); byX.get(x).push(Infinity); return; }
          if (!byX.has(x)) byX.set(x, []);
          byX.get(x).push(ys[i]);
          last = { x, value: ys[i] };
        });
        if (Number.isFinite(ys[0])) starts.push(ys[0]);
        if (line.status !== "done" && last) ends.push({ ...last, label: labels[index], seed: line.member, status: line.status, index });
      }
      for (const [x, values] of [...byX].sort((a, b) => a[0] - b[0])) {
        if (logX && x <= 0) continue;
        values.sort((a, b) => a - b);
        const value = median(values);
        if (!Number.isFinite(value) || (logY && values[0] <= 0)) continue;
        const top = values[values.length - 1];
        finite.push(value);
        rows.push({ x, value, low: bands ? values[0] : value, high: bands ? (Number.isFinite(top) ? top : value) : value, label: labels[index], index });
      }
    }
    if (!rows.length) return null;
    const start = Math.max(...starts);
    let low = Infinity, high = -Infinity;
    for (const value of finite) { if (value < low) low = value; if (value > high) high = value; }
    // What blew up must not press everything else flat.
    const roof = start > 0 ? start * (logY ? 3 : 1.25) : start + Math.abs(start) + 1;
    high = Math.min(high, roof);
    if (high <= low) { const pad = Math.abs(low) * 0.05 || 1; low -= logY ? 0 : pad; high = low + 2 * pad; }
    const room = logY && low > 0 ? [low / Math.pow(high / low, 0.03), high * Math.pow(high / low, 0.03)] : [low - 0.03 * (high - low), high + 0.03 * (high - low)];
    return { rows, ends: ends.filter((end) => !logX || end.x > 0).map((end) => ({ ...end, value: Math.min(end.value, room[1]) })), domain: room, positive: low > 0 };
  }

  // --- charts: (index) -> Vega-Lite specification with data, or the reason why there is none

  const copy = (spec) => structuredClone(spec);
  const styledRows = (rows) => rows.map((row) => ({ ...row, ...styleOf(row.index) }));
  const rename = (spec, axis, title) => {
    for (const layer of spec.layer) if (layer.encoding[axis]) layer.encoding[axis].title = title;
  };
  const headlineRows = (index) => {
    const { metric, statistic } = details.headlines[index];
    const name = statistic ? `${metric}_${statistic}` : metric;
    return report.aggregate
      .filter((row) => row.metric === name && row.value !== null)
      .map((row) => ({ ...row, low: row.low ?? row.value, high: row.high ?? row.value, label: details.labels[row.optimizer], index: names.indexOf(row.optimizer) }));
  };

  const charts = {
    interval(index) {
      const rows = headlineRows(index).sort((a, b) => b.value - a.value);
      if (!rows.length) return "no values";
      const spec = copy(specs.interval);
      spec.height = 22 * rows.length;
      spec.datasets = { rows: styledRows(rows), one: [{ x: 1 }] };
      if (!details.headlines[index].reference_line) spec.layer.shift();
      return spec;
    },
    curves(index) {
      const panel = panels[index];
      const logX = $("log-x").checked, logY = $("log-y").checked;
      const made = curveRows(panel, chosen(), Number($("ema").value), $("bands").checked, logX, logY);
      if (!made) return panel.lines.length ? "nothing finite to draw of the optimizers chosen above" : "no finished runs";
      const spec = copy(specs.curves);
      spec.datasets = { rows: styledRows(made.rows), ends: styledRows(made.ends) };
      if (!made.ends.length) spec.layer.pop();
      rename(spec, "x", panel.x);
      rename(spec, "y", panel.y);
      for (const layer of spec.layer) {
        layer.encoding.x.scale = { type: logX ? "log" : "linear", nice: false };
        const log = logY && made.positive;
        layer.encoding.y.scale = { type: log ? "log" : "linear", domain: made.domain, nice: false, ...(log ? {} : { zero: false }) };
        // Decades alone label a narrow range with nothing at all.
        layer.encoding.y.axis = { format: "~g", tickCount: 5 };
        layer.encoding.x.axis = { format: "~s", tickCount: 6 };
      }
      return spec;
    },
    profile(index) {
      const { metric, form } = drawing.profile_groups[index];
      const shown = new Set(chosen());
      const rows = [];
      for (const profile of details.profiles) {
        const i = names.indexOf(profile.optimizer);
        if (profile.metric !== metric || profile.form !== form || !shown.has(i)) continue;
        profile.tau.forEach((tau, k) => rows.push({
          tau, value: profile.value[k], low: profile.low.length ? profile.low[k] : profile.value[k],
          high: profile.high.length ? profile.high[k] : profile.value[k], label: labels[i], index: i,
        }));
      }
      if (!rows.length) return "none of the optimizers chosen above has a profile";
      const spec = copy(specs.profile);
      spec.datasets = { rows: styledRows(rows) };
      rename(spec, "x", drawing.profile_groups[index].x);
      rename(spec, "y", drawing.profile_groups[index].y);
      return spec;
    },
    scatter() {
      const field = $("cost-field").value, quality = Number($("quality").value);
      const cost = new Map(details.costs.map((row) => [row.optimizer, row[field]]));
      const all = headlineRows(quality);
      const rows = all.filter((row) => cost.get(row.optimizer) > 0)
        .map((row) => ({ ...row, cost: cost.get(row.optimizer), name: all.length <= 12 ? row.label : "" }));
      if (!rows.length) return "nothing was measured";
      const spec = copy(specs.scatter);
      spec.datasets = { rows: styledRows(rows) };
      rename(spec, "x", $("cost-field").selectedOptions[0].textContent);
      rename(spec, "y", details.headlines[quality].title);
      return spec;
    },
  };

  // vegaEmbed gives a promise, but nothing is loaded: it is kept before the browser goes on, so
  // that what is drawn in `beforeprint` is printed.
  const drawn = new Map();
  async function draw(element) {
    const made = charts[element.dataset.chart](Number(element.dataset.index));
    const turn = (Number(element.dataset.turn) || 0) + 1;
    element.dataset.turn = turn;
    element.dataset.drawn = "yes";
    drawn.get(element)?.finalize();
    drawn.delete(element);
    if (typeof made === "string") {
      const text = document.createElement("p");
      text.textContent = made;
      element.replaceChildren(text);
      return;
    }
    // The element's own width at this moment; a window of another width draws again.
    made.width = Math.max(160, element.clientWidth);
    made.autosize = { type: element.dataset.chart === "interval" ? "fit-x" : "fit", contains: "padding" };
    const frame = document.createElement("div");
    const result = await vegaEmbed(frame, made, {
      actions: false, defaultStyle: false, renderer: printing ? "svg" : "canvas", config: config(), tooltip,
    });
    if (Number(element.dataset.turn) !== turn) { result.finalize(); return; }
    element.replaceChildren(frame);
    drawn.set(element, result);
  }

  // --- what is in view is drawn, what changed is drawn again when it is in view

  const elements = [...document.querySelectorAll(".chart")];
  const visible = new Set();
  let waiting = false, observed = false;
  async function drawVisible() {
    waiting = false;
    await Promise.all([...visible].filter((element) => element.dataset.drawn !== "yes").map(draw));
    if (observed) root.dataset.ready = "yes";
  }
  function soon() {
    if (!waiting) { waiting = true; requestAnimationFrame(drawVisible); }
  }
  function stale(kinds) {
    for (const element of elements) if (kinds.includes(element.dataset.chart)) element.dataset.drawn = "stale";
    soon();
  }
  const ALL = Object.keys(charts);
  const observer = new IntersectionObserver((entries) => {
    observed = true;
    for (const entry of entries) entry.isIntersecting ? visible.add(entry.target) : visible.delete(entry.target);
    soon();
  }, { rootMargin: "200px" });
  elements.forEach((element) => observer.observe(element));
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== width) { width = window.innerWidth; stale(ALL); }
  });
  systemDark.addEventListener("change", () => stale(ALL));
  $("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("celo-theme", root.dataset.theme); } catch (error) { /* no storage */ }
    stale(ALL);
  });

  function preparePrint() {
    if (printing) return;
    printing = true;
    root.dataset.before = root.dataset.theme || "";
    root.dataset.theme = "light";
    for (const part of document.querySelectorAll("details:not([open])")) { part.open = true; part.dataset.closed = "yes"; }
    elements.forEach((element) => { draw(element); });
  }
  window.addEventListener("beforeprint", preparePrint);
  window.addEventListener("afterprint", () => {
    printing = false;
    for (const part of document.querySelectorAll("details[data-closed]")) { part.open = false; delete part.dataset.closed; }
    if (root.dataset.before) root.dataset.theme = root.dataset.before; else delete root.dataset.theme;
    stale(ALL);
  });
  $("print").addEventListener("click", () => window.print());
  $("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(report, null, 2)], { type: "application/json" }));
    link.download = `celo-report-${report.run}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  // --- tooltips

  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const words = { label: "optimizer", x: "step", tau: "τ", value: "value", low: "low", high: "high" };
  function tooltip(handler, event, item, value) {
    if (!value || typeof value !== "object") { tip.hidden = true; return; }
    tip.replaceChildren(...Object.entries(value).map(([key, text]) => {
      const row = document.createElement("div");
      const [name, shown] = [document.createElement("span"), document.createElement("span")];
      name.textContent = words[key] || key;
      shown.textContent = text;
      row.append(name, shown);
      return row;
    }));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, window.innerWidth - box.width - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, window.innerHeight - box.height - 8))}px`;
  }
  window.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  // --- optimizers

  const boxes = names.map((name, index) => {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", value: String(index) });
    const text = document.createElement("span");
    text.textContent = labels[index];
    const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [key, value] of Object.entries({ width: 34, height: 10, "aria-hidden": "true" })) swatch.setAttribute(key, value);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const style = styles[index];
    for (const [key, value] of Object.entries({ x1: 0, y1: 5, x2: 34, y2: 5, "stroke-width": 2.5, "stroke-dasharray": style.dash.join(" ") })) line.setAttribute(key, value);
    line.style.stroke = `light-dark(${style.light}, ${style.dark})`;
    swatch.append(line);
    label.append(box, swatch, text);
    $("optimizers").append(label);
    box.addEventListener("change", chosenChanged);
    return box;
  });
  function chosen() {
    return boxes.filter((box) => box.checked).map((box) => Number(box.value));
  }
  function choose(indices) {
    const kept = new Set(indices);
    boxes.forEach((box, index) => { box.checked = kept.has(index); });
    chosenChanged();
  }
  function chosenChanged() {
    $("chosen").textContent = `${chosen().length} of ${names.length} drawn in curves and profiles`;
    stale(["curves", "profile"]);
  }
  $("all").addEventListener("click", () => choose(names.keys()));
  $("none").addEventListener("click", () => choose([]));
  $("best").addEventListener("click", () => choose(drawing.best));
  if (names.length <= 12) $("chooser").open = true;

  // --- controls

  $("heat-metric").addEventListener("change", (event) => {
    for (const figure of document.querySelectorAll("figure.heat")) figure.hidden = figure.dataset.field !== event.target.value;
  });
  for (const id of ["log-x", "log-y", "bands"]) $(id).addEventListener("change", () => stale(["curves"]));
  const showEma = () => { $("ema-value").textContent = Number($("ema").value).toFixed(2); };
  $("ema").addEventListener("input", () => { showEma(); stale(["curves"]); });
  for (const id of ["quality", "cost-field"]) $(id)?.addEventListener("change", () => stale(["scatter"]));
  showEma();
  choose(drawing.best);
})();
