// The scheme that was chosen here, set before the first paint; the system's where none was.
const chosen = localStorage.getItem("winnow-theme");
if (chosen) document.documentElement.dataset.theme = chosen;
