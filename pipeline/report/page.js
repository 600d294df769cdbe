// Charts are stored in the colours of paper; on a dark screen each colour gives way to its counterpart.
const NIGHT = {
  "#ffffff": "#14191f", "#1f2933": "#dde3ea", "#e4e7eb": "#2c3640", "#9aa5b1": "#5f6d7a",
  "#4d4d4d": "#a9b4be", "#0072b2": "#4da6e0", "#009e73": "#2fc79a", "#d55e00": "#f08a3c", "#a6761d": "#c9983a",
  "#332288": "#8f7ff0", "#117733": "#3fae64", "#882255": "#c9548f", "#aa4499": "#cf6fc0",
};
const dark = window.matchMedia("screen and (prefers-color-scheme: dark)");
const stored = document.getElementById("figures").textContent;

function draw() {
  const text = dark.matches ? stored.replace(/#[0-9a-f]{6}/g, (tone) => NIGHT[tone] ?? tone) : stored;
  for (const [name, figure] of Object.entries(JSON.parse(text))) {
    const place = document.getElementById("chart-" + name);
    if (place && figure) Plotly.react(place, figure.data, figure.layout, {displayModeBar: false, responsive: true});
  }
}

draw();
dark.addEventListener("change", draw);
