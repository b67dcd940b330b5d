// What a line of a log looks like: the same rules as the pages that the server makes (pages/logview.py).
const escapes = /\u001b(?:\[[0-?]*[ -/]*[@-~]?|\][^\u0007\u001b\u009c]*(?:\u0007|\u009c|\u001b\\)?|[PX^_][^\u0007\u001b\u009c]*(?:\u0007|\u009c|\u001b\\)?|[ -/]*[0-~]?)/g;
const unseen = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;
const longest = 16384;

function picture(character) {
  const point = character.codePointAt(0);
  if (point < 0x20) return String.fromCodePoint(0x2400 + point);
  return point === 0x7f ? "\u2421" : `⟨U+${point.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

export function clean(line) {
  let cut = "";
  if (line.length > longest) {
    cut = ` … ${line.length - longest} more characters in this line: see the raw log`;
    line = line.slice(0, longest);
  }
  line = line.replace(escapes, "").replace(/\r+$/, "");
  return line.slice(line.lastIndexOf("\r") + 1).replace(unseen, picture) + cut;
}
