// The drawings on buttons that scripts make; those of the page itself are in its HTML.

const NAMESPACE = 'http://www.w3.org/2000/svg';

const PATHS = {
  pin: 'M9 4h6l-1 6 3 3v2H7v-2l3-3zM12 15v6',
  stop: 'M3 3l18 18M10.6 6.2A9.5 9.5 0 0 1 21.5 12a13 13 0 0 1-2.7 3.5M6.3 7.5A13 13 0 0 0 2.5 12a10.5 10.5 0 0 0 13.6 5M9.9 9.9a3 3 0 0 0 4.2 4.2',
  hush: 'M11 5 6.5 9H3v6h3.5l4.5 4zM16 9.5l5 5m0-5-5 5',
  speaking: 'M4 10v4M8 7v10M12 4v16M16 8v8M20 10.5v3',
  muted: 'M3 3l18 18M9 9v2a3 3 0 0 0 4.5 2.6M15 11V6a3 3 0 0 0-5.7-1.3M5.5 11a6.5 6.5 0 0 0 10.3 5.3M18.5 11a6.5 6.5 0 0 1-.6 2.7M12 17.5V21',
  close: 'M6 6l12 12M18 6 6 18',
  video: 'M3 7.5A1.5 1.5 0 0 1 4.5 6h9A1.5 1.5 0 0 1 15 7.5v9a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 3 16.5zM15 10.5 21 7v10l-6-3.5',
  audio: 'M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5V21',
  screen: 'M3 5.5A1.5 1.5 0 0 1 4.5 4h15A1.5 1.5 0 0 1 21 5.5v9a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 14.5zM8 20h8M12 16v4',
};

/** A drawing by its name. */
export function icon(name) {
  const svg = document.createElementNS(NAMESPACE, 'svg');
  const attributes = {
    viewBox: '0 0 24 24', fill: 'none', stroke: 'currentColor', 'stroke-width': 2, 'stroke-linecap': 'round', 'stroke-linejoin': 'round', 'aria-hidden': true,
  };
  for (const [attribute, value] of Object.entries(attributes)) svg.setAttribute(attribute, value);
  const path = document.createElementNS(NAMESPACE, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}
