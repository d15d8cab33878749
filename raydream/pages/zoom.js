// Enlarges the pictures in elements of class `zoom`, which elements of class `group` hold, in the lightbox.
"use strict";
const $ = (id) => document.getElementById(id);
const lightbox = $("lightbox");
const groups = [...document.querySelectorAll(".group")].map((group) => [...group.querySelectorAll(".zoom")]).filter((group) => group.length);
const zooms = groups.flat();
let shown = null;

function enlarge(zoom) {
  shown = zoom;
  const image = zoom.firstElementChild.cloneNode();
  image.style.setProperty("--ratio", image.getAttribute("width") / image.getAttribute("height"));
  image.style.setProperty("--pixels", image.getAttribute("width"));
  $("stage").replaceChildren(image);
  const name = document.createElement("div");
  name.className = "name";
  name.textContent = image.alt;
  const numbers = zoom.parentElement.querySelector(".numbers");
  $("caption").replaceChildren(name, ...(numbers ? [numbers.cloneNode(true)] : []));
  $("place").textContent = `${zooms.indexOf(zoom) + 1} of ${zooms.length}`;
  if (!lightbox.open) { lightbox.showModal(); $("next").focus(); }
}

function turn(by) {
  enlarge(zooms[(zooms.indexOf(shown) + by + zooms.length) % zooms.length]);
}

function leap(by) {  // to the same place in another group
  const from = groups.findIndex((group) => group.includes(shown)), place = groups[from].indexOf(shown);
  const group = groups[(from + by + groups.length) % groups.length];
  enlarge(group[Math.min(place, group.length - 1)]);
}

for (const zoom of zooms) zoom.addEventListener("click", () => enlarge(zoom));
lightbox.addEventListener("keydown", (event) => {
  const way = { ArrowLeft: [turn, -1], ArrowRight: [turn, 1], ArrowUp: [leap, -1], ArrowDown: [leap, 1] }[event.key];
  if (way) { event.preventDefault(); way[0](way[1]); }
});
$("previous").addEventListener("click", () => turn(-1));
$("next").addEventListener("click", () => turn(1));
$("close").addEventListener("click", () => lightbox.close());
$("stage").addEventListener("click", ({ target }) => { if (target === $("stage")) lightbox.close(); });
lightbox.addEventListener("close", () => {
  $("stage").replaceChildren();
  shown.scrollIntoView({ block: "nearest" });
  shown.focus({ preventScroll: true });
});
