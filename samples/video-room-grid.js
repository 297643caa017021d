// Where tiles go so that all of them fit and are as large as they can be. Numbers in, numbers out; no DOM in here.

const GAP = 10;
// Tiles are at least this narrow and this wide, as width by height; what is left of the box stays empty around them.
const NARROWEST = 3 / 4;
const WIDEST = 16 / 9;
// The picture that a tile is judged by: between what cameras send upright and on their side.
const PICTURE = 4 / 3;
// The part of a box that those beside a presentation get, and how many pixels they need.
const ASIDE = 0.2;
const ASIDE_LEAST = 150;
const ASIDE_MOST = 320;
const STAGE_NARROWEST = 4 / 3;
const STAGE_WIDEST = 2;

const room = (size, count) => (size - GAP * (count - 1)) / count;

/** How much a picture would cover in a tile of this size. */
function cover(width, height, picture = PICTURE) {
  const fitting = Math.min(width, height * picture);
  return (fitting * fitting) / picture;
}

/**
 * Rectangles `{x, y, width, height}` for `count` tiles in a box, in order. The tile with the index `stage`, if there is
 * one, is large, and the others are aside.
 */
export function arrange(count, width, height, stage = -1) {
  if (count < 1 || width < 1 || height < 1) return [];
  if (stage < 0 || stage >= count) return grid(count, { x: 0, y: 0, width, height });
  if (count === 1) return [{ x: 0, y: 0, width, height }];
  const { main, aside } = split(width, height);
  const rectangles = grid(count - 1, aside);
  rectangles.splice(stage, 0, main);
  return rectangles;
}

/** Cuts a box so that what is on the stage is largest, and nothing of the box is left empty around it. */
function split(width, height) {
  const part = (size) => Math.min(Math.max(size * ASIDE, ASIDE_LEAST), ASIDE_MOST, size / 2);
  const across = Math.min(width - part(width) - GAP, height * STAGE_WIDEST);
  const down = Math.min(height - part(height) - GAP, width / STAGE_NARROWEST);
  const column = {
    main: { x: 0, y: 0, width: across, height },
    aside: { x: across + GAP, y: 0, width: width - across - GAP, height },
  };
  const row = {
    main: { x: 0, y: 0, width, height: down },
    aside: { x: 0, y: down + GAP, width, height: height - down - GAP },
  };
  const worth = ({ main }) => cover(main.width, main.height, WIDEST);
  return worth(column) >= worth(row) ? column : row;
}

function grid(count, box) {
  let best = null;
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    let width = room(box.width, columns);
    let height = room(box.height, rows);
    if (width <= 0 || height <= 0) continue;
    width = Math.min(width, height * WIDEST);
    height = Math.min(height, width / NARROWEST);
    const worth = cover(width, height);
    if (!best || worth > best.worth) best = { worth, columns, rows, width, height };
  }
  // Where not even gaps fit, nothing can be seen anyway.
  if (!best) return Array.from({ length: count }, () => ({ ...box }));
  return place(count, box, best);
}

/** Rows in the middle of the box, each in the middle of its line. */
function place(count, box, { columns, rows, width, height }) {
  const top = box.y + (box.height - rows * height - (rows - 1) * GAP) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = Math.min(columns, count - row * columns);
    const left = box.x + (box.width - inRow * width - (inRow - 1) * GAP) / 2;
    return { x: left + (index % columns) * (width + GAP), y: top + row * (height + GAP), width, height };
  });
}
