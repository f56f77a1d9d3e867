import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Markup, markup } from '../../../../src/audit/html/markup.ts';

it('values are escaped, and markup is not', () => {
  const inner = markup`<b>${'<i>'}</b>`;
  expect(`${markup`<p title="${`"'&`}">${inner}${[inner, inner]}${7}</p>`}`).toBe(
    '<p title="&quot;&#39;&amp;"><b>&lt;i&gt;</b><b>&lt;i&gt;</b>\n<b>&lt;i&gt;</b>7</p>',
  );
});

it('characters that reorder or forge lines become spaces', () => {
  expect(`${markup`${'a\u202eb\n\u0000c\u2028d'}`}`).toBe('a b c d');
});

it('no text leaves its element or its attribute', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(`${markup`${text}`}`).not.toMatch(/[<>"']|&(?!(?:amp|lt|gt|quot|#39);)/);
    }),
  );
});

it('only markup that is made as such is markup', () => {
  expect(`${new Markup('<br>')}`).toBe('<br>');
});
