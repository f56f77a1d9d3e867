import { expect, it } from 'vitest';
import { STYLE } from '../../../../src/audit/html/style.ts';

/** WCAG 2.2, 1.4.3 and 1.4.11. */
const [TEXT, GRAPHICS] = [4.5, 3];

/** The colours of the light and of the dark page. */
function palettes(): readonly (readonly [name: string, colours: ReadonlyMap<string, string>])[] {
  const [light = '', dark = ''] = STYLE.split('@media screen and (prefers-color-scheme: dark)');
  const coloursOf = (text: string): ReadonlyMap<string, string> =>
    new Map([...text.matchAll(/--([\w-]+): #(\w+)/g)].map(([, name = '', colour = '']) => [name, colour]));
  return [
    ['light', coloursOf(light)],
    ['dark', coloursOf(dark)],
  ];
}

function luminance(colour: string): number {
  const full = colour.length === 3 ? colour.replace(/./g, '$&$&') : colour;
  const [red = 0, green = 0, blue = 0] = [0, 2, 4].map((at) => {
    const value = Number.parseInt(full.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [low = 0, high = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

it.each(palettes())('texts and bars of the %s page have enough contrast', (_, colours) => {
  const of = (name: string): string => colours.get(name) ?? 'none';
  expect(colours.size).toBe(13);
  for (const text of ['ink', 'soft'])
    for (const back of ['back', 'box']) expect(contrast(of(text), of(back)), text).toBeGreaterThanOrEqual(TEXT);
  for (const fill of ['encrypted', 'free', 'clear', 'other', 'start', 'logs'])
    expect(contrast(of(fill), of('back')), fill).toBeGreaterThanOrEqual(GRAPHICS);
});

it('a printed page has the colours of the light one', () => {
  expect(STYLE).not.toMatch(/@media \(prefers-color-scheme/);
});
