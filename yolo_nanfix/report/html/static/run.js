"use strict";
// Reads the values of the curves under the pointer, a finger or the arrow keys. Without it the charts are static.
(() => {
  const data = JSON.parse(document.getElementById("readings").textContent);
  const views = [];
  const make = (parent, tag, name) => {
    const element = document.createElement(tag);
    element.className = name;
    parent.append(element);
    return element;
  };
  // The index of the value of a sorted list that is nearest to x.
  const nearest = (list, x) => {
    let low = 0;
    let high = list.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (list[middle] < x) low = middle;
      else high = middle;
    }
    return x - list[low] <= list[high] - x ? low : high;
  };
  const epochOf = (x) => {
    const found = data.epochs.find(([end]) => x <= end);
    return found ? `, epoch ${found[1]}` : "";
  };
  const clear = (view) => view.shown.splice(0).forEach((element) => element.remove());

  const show = (view, x, withText) => {
    clear(view);
    const { chart, plot } = view;
    const left = ((x - chart.low) / (chart.high - chart.low)) * 100;
    const cursor = make(plot, "div", "cursor");
    cursor.style.left = `${left}%`;
    view.shown.push(cursor);
    if (!withText) return;
    const tip = make(plot, "div", "tip");
    view.shown.push(tip);
    const title = `${data.name} ${Math.round(x)}${epochOf(x)}`;
    make(tip, "p", "soft").textContent = title;
    const lines = [];
    chart.curves.forEach((curve, number) => {
      if (!curve.x.length) return;
      const index = nearest(curve.x, x);
      if (Math.abs(curve.x[index] - x) > view.reach && curve.x.length > 1) return;
      const line = `${curve.name} ${curve.y[index]}`;
      lines.push(line);
      make(tip, "p", "").textContent = line;
      if (curve.h[index] === null) return;
      const spot = make(plot, "div", "spot");
      spot.style.left = `${((curve.x[index] - chart.low) / (chart.high - chart.low)) * 100}%`;
      spot.style.bottom = `${curve.h[index]}%`;
      spot.style.background = view.colours[number];
      view.shown.push(spot);
    });
    if (left > 50) tip.style.right = `calc(${100 - left}% + .6rem)`;
    else tip.style.left = `calc(${left}% + .6rem)`;
    view.reader.setAttribute("aria-valuenow", String(Math.round(x)));
    view.reader.setAttribute("aria-valuetext", [title, ...lines].join("; "));
  };
  const everywhere = (active, x) => views.forEach((view) => show(view, x, view === active));
  const nowhere = () => views.forEach(clear);
  // The step nearest to a place, among the points of the first curve that has any.
  const snapped = (view, x) => view.steps[nearest(view.steps, x)];

  data.charts.forEach((chart) => {
    const plot = document.querySelector(`[data-chart="${chart.key}"]`);
    const steps = [...new Set(chart.curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
    if (!plot || !steps.length) return;
    const swatches = [...plot.closest("figure").querySelectorAll(".swatch path")];
    const view = { chart, plot, steps, shown: [], at: steps.length - 1, reach: (chart.high - chart.low) / 50, colours: [] };
    const recolour = () => { view.colours = swatches.map((path) => getComputedStyle(path).stroke); };
    views.push(view);
    // A separate slider: for a screen reader nothing inside a slider is a link, and the marks are links.
    const reader = make(plot, "div", "reader");
    view.reader = reader;
    reader.tabIndex = 0;
    reader.setAttribute("role", "slider");
    reader.setAttribute("aria-label", `${plot.dataset.says}, values`);
    reader.setAttribute("aria-valuemin", String(chart.low));
    reader.setAttribute("aria-valuemax", String(chart.high));
    reader.setAttribute("aria-valuenow", String(steps[view.at]));
    const point = (event) => {
      const box = plot.getBoundingClientRect();
      const x = chart.low + ((event.clientX - box.left) / box.width) * (chart.high - chart.low);
      recolour();
      view.at = nearest(steps, x);
      everywhere(view, snapped(view, x));
    };
    reader.addEventListener("pointermove", point);
    reader.addEventListener("pointerdown", point);
    reader.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") nowhere(); });
    reader.addEventListener("blur", nowhere);
    reader.addEventListener("keydown", (event) => {
      const stride = Math.max(1, Math.round(steps.length / 20));
      const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -stride, PageUp: stride };
      const ends = { Home: 0, End: steps.length - 1 };
      if (event.key === "Escape") nowhere();
      if (!(event.key in moves) && !(event.key in ends)) return;
      event.preventDefault();
      recolour();
      const wanted = event.key in ends ? ends[event.key] : view.at + moves[event.key];
      view.at = Math.min(steps.length - 1, Math.max(0, wanted));
      everywhere(view, steps[view.at]);
    });
  });
  document.addEventListener("pointerdown", (event) => { if (!event.target.closest(".reader")) nowhere(); });
  document.querySelectorAll(".hint").forEach((element) => { element.hidden = false; });
})();
