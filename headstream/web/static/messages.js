// The line above the page: problems stay until what failed succeeds, notices fade. The text stays for who has it read out.

const SHOWN_MS = 8000;
const line = document.getElementById("message");
let by = "", fading = 0;

// How one part of the page speaks: what goes well there, say(""), takes away its own words only.
export function speaker(name) {
  return (text, problem = false) => {
    if (!text && by !== name) return;
    by = text ? name : "";
    clearTimeout(fading);
    line.textContent = text;
    line.classList.toggle("problem", problem);
    line.classList.remove("faded");
    if (text && !problem) fading = setTimeout(() => line.classList.add("faded"), SHOWN_MS);
  };
}

export const troubled = () => line.classList.contains("problem");
