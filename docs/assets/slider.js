// Moves the divider of every before/after picture; without JavaScript it stays in the middle.
for (const slider of document.querySelectorAll(".slider")) {
  slider.querySelector("input").addEventListener("input", (event) => {
    slider.style.setProperty("--at", `${event.target.value}%`);
  });
}
