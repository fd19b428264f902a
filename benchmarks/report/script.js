"use strict";
document.documentElement.classList.add("live");
for (const slider of document.querySelectorAll(".pair input")) {
  const frame = slider.closest(".pair").querySelector(".frame");
  const show = () => {
    frame.style.setProperty("--split", slider.value + "%");
    slider.setAttribute("aria-valuetext", slider.value + " % before");
  };
  slider.addEventListener("input", show);
  show();
}
