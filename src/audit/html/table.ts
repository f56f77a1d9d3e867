import { type Markup, markup } from './markup.ts';

export interface Column<T> {
  readonly head: string;
  readonly cell: (row: T) => string;
  readonly isNumber?: true;
}

export function dataTable<T>(caption: string, columns: readonly Column<T>[], rows: readonly T[]): Markup {
  const classOf = ({ isNumber }: Column<T>): Markup => (isNumber ? markup` class="number"` : markup``);
  return markup`<div class="table" tabindex="0" role="region" aria-label="${caption}"><table>
<caption>${caption}</caption>
<thead><tr>${columns.map((column) => markup`<th scope="col"${classOf(column)}>${column.head}</th>`)}</tr></thead>
<tbody>
${rows.map((row) => markup`<tr>${columns.map((column) => markup`<td${classOf(column)}>${column.cell(row)}</td>`)}</tr>`)}
</tbody></table></div>`;
}
