/* The filter above the list of rules: by words and by severity. Without JavaScript the whole list stays. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("rule-filter");
  if (!place) return;
  const sections = [...document.querySelectorAll("section section")].filter((s) => s.querySelector("a[href$='.html'] , td"));
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
