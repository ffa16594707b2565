/* What the theme leaves to be done for keyboards and screen readers, and the filter above the list of rules.
   Without JavaScript all pages can be read, and the whole list stays. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  for (const caption of document.querySelectorAll(".caption[role='heading']")) caption.setAttribute("aria-level", "2");
  document.querySelector(".sidebar-drawer")?.setAttribute("aria-label", "Pages");
  document.querySelector(".toc-drawer")?.setAttribute("aria-label", "On this page");
  for (const wide of document.querySelectorAll("pre, .table-wrapper")) {
    if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0; // so that the arrow keys can scroll it
  }
});

document.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("rule-filter");
  if (!place) return;
  const sections = [...document.querySelectorAll("section section")];
  const rows = sections.flatMap((section) => [...section.querySelectorAll("tbody tr")]);

  const words = document.createElement("input");
  words.type = "search";
  words.placeholder = "nan, box, duplicate ...";
  const severity = document.createElement("select");
  for (const name of ["any severity", "fatal", "error", "warning", "info"]) {
    const option = document.createElement("option");
    option.textContent = name;
    option.value = name === "any severity" ? "" : name;
    severity.append(option);
  }
  const count = document.createElement("span");
  count.setAttribute("aria-live", "polite");
  for (const [text, input] of [["Filter ", words], ["Severity ", severity]]) {
    const label = document.createElement("label");
    label.append(text, input);
    place.append(label);
  }
  place.append(count);

  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const level = row.querySelector(".severity").textContent;
      row.hidden = !wanted.every((word) => text.includes(word)) || (severity.value !== "" && level !== severity.value);
      shown += row.hidden ? 0 : 1;
    }
    for (const section of sections) {
      section.hidden = [...section.querySelectorAll("tbody tr")].every((row) => row.hidden);
    }
    count.textContent = `${shown} of ${rows.length} rules`;
  };
  words.addEventListener("input", filter);
  severity.addEventListener("change", filter);
  filter();
});
