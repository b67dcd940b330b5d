// What a terminal would show of one line: the same rules as the pages that the server makes (pages/ansi.py). Only
// colours have an effect, as classes; everything is linear, and text goes into text nodes only.
const names = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const escapes = /\u001b\[([0-9;:]*)m|\u001b(?:\[[0-?]*[ -/]*[@-~]?|\][^\u0007\u001b\u009c]*(?:\u0007|\u009c|\u001b\\)?|[PX^_][^\u0007\u001b\u009c]*(?:\u0007|\u009c|\u001b\\)?|[ -/]*[0-~]?)/g;
const unseen = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;
const most = 64; // codes of one sequence

// A style: ink and paper are 0 to 15 or null; bold, italic, underline, inverse.
export const plain = Object.freeze({ ink: null, paper: null, bold: false, italic: false, underline: false, inverse: false });

function classes(style) {
  const ink = style.inverse ? style.paper : style.ink;
  const paper = style.inverse ? style.ink ?? 7 : style.paper;
  const found = [];
  if (ink !== null) found.push(`ink-${ink > 7 ? "bright-" : ""}${names[ink % 8]}`);
  if (paper !== null) found.push(`paper-${names[paper % 8]}`);
  for (const name of ["bold", "italic", "underline"]) if (style[name]) found.push(name);
  return found.join(" ");
}

function number(text) {
  return /^[0-9]{1,3}$/.test(text) ? Number(text) : null;
}

function nearest(red, green, blue) {
  const top = Math.max(red, green, blue);
  const low = Math.min(red, green, blue);
  if (top - low < 32) return top < 64 ? 0 : top < 128 ? 8 : top < 224 ? 7 : 15;
  const middle = Math.floor((top + low) / 2);
  const hue = (red > middle ? 1 : 0) + (green > middle ? 2 : 0) + (blue > middle ? 4 : 0);
  return hue + (top >= 192 && low >= 64 ? 8 : 0);
}

function of256(code) {
  if (code >= 232) return Array(3).fill(8 + 10 * (code - 232));
  const cube = code - 16;
  return [Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map((part) => (part ? 55 + 40 * part : 0));
}

function withoutSpace(parts) {
  return parts.length > 4 ? [parts[0], ...parts.slice(2, 5)] : parts;
}

function far(parts) {
  const numbers = parts.map((part) => (part === "" ? 0 : number(part)));
  if (numbers.some((one) => one === null || one > 255)) return null;
  if (numbers[0] === 5 && numbers.length > 1) return numbers[1] < 16 ? numbers[1] : nearest(...of256(numbers[1]));
  if (numbers[0] === 2 && numbers.length === 4) return nearest(...numbers.slice(1));
  return null;
}

function one(style, code, more) {
  if (code === 0) return plain;
  if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) return { ...style, ink: code < 90 ? code - 30 : code - 82 };
  if ((code >= 40 && code <= 47) || (code >= 100 && code <= 107)) return { ...style, paper: code < 100 ? code - 40 : code - 92 };
  switch (code) {
    case 39: return { ...style, ink: null };
    case 49: return { ...style, paper: null };
    case 1: case 22: return { ...style, bold: code === 1 };
    case 3: case 23: return { ...style, italic: code === 3 };
    case 4: case 24: return { ...style, underline: code === 4 && !(more.length === 1 && more[0] === "0") };
    case 7: case 27: return { ...style, inverse: code === 7 };
    default: return style;
  }
}

function painted(before, sequence) {
  let style = before;
  const codes = sequence.split(";", most);
  for (let at = 0; at < codes.length; at += 1) {
    const parts = codes[at].split(":").slice(0, 9);
    const code = parts[0] === "" ? 0 : number(parts[0]);
    if (code === 38 || code === 48) {
      const used = parts.length > 1 ? 0 : { 5: 2, 2: 4 }[codes[at + 1]] ?? 0;
      const colour = far(parts.length > 1 ? withoutSpace(parts.slice(1)) : codes.slice(at + 1, at + 1 + used));
      if (colour !== null) style = { ...style, [code === 38 ? "ink" : "paper"]: colour };
      at += used;
    } else if (code !== null) style = one(style, code, parts.slice(1));
  }
  return style;
}

function picture(character) {
  const point = character.codePointAt(0);
  if (point < 0x20) return String.fromCodePoint(0x2400 + point);
  return point === 0x7f ? "\u2421" : `⟨U+${point.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

// A line without its newline, that begins in `begun`: { spans: [{ text, style: classes }], style: of the next line }.
export function spans(line, begun) {
  let shown = [];
  let style = begun;
  let isOver = false;
  let at = 0;
  function write(text) {
    let end = text.length;
    while (end > 0 && text[end - 1] === "\r") end -= 1; // a pattern such as /\r+$/ would take quadratic time
    if (end > 0) {
      const from = text.lastIndexOf("\r", end - 1) + 1;
      if (isOver || from > 0) shown = [];
      const piece = { text: text.slice(from, end).replace(unseen, picture), style: classes(style) };
      const before = shown.at(-1);
      if (before?.style === piece.style) before.text += piece.text;
      else shown.push(piece);
      isOver = false;
    }
    isOver ||= text.endsWith("\r");
  }
  for (const found of line.matchAll(escapes)) {
    if (found.index > at) write(line.slice(at, found.index));
    if (found[1] !== undefined) style = painted(style, found[1]);
    at = found.index + found[0].length;
  }
  if (at < line.length) write(line.slice(at));
  return { spans: shown, style };
}

// A style that the server wrote down, such as "1,,b".
export function read(text) {
  const [ink, paper, marks] = (text ?? ",,").split(",");
  const has = (mark) => marks.includes(mark);
  const colour = (part) => (part === "" ? null : Number(part));
  return { ink: colour(ink), paper: colour(paper), bold: has("b"), italic: has("i"), underline: has("u"), inverse: has("v") };
}
