"use strict";
(() => {
  const { charts, format, notDrawn } = JSON.parse(document.getElementById("charts").textContent);
  const options = {
    actions: false,
    ast: true, // No eval: the page's policy forbids it.
    defaultStyle: false,
    formatLocale: format,
    renderer: "svg",
    tooltip: { disableDefaultStyle: true },
  };
  const drawn = [...document.querySelectorAll("[data-chart]")].map((place) =>
    vegaEmbed(place, charts[place.dataset.chart], options).catch((error) => {
      place.textContent = notDrawn;
      console.error(error);
    }),
  );
  Promise.all(drawn).then(() => document.documentElement.setAttribute("data-drawn", drawn.length));
})();
