/** The style sheet of the report: light and dark on a screen, light on paper. Hatching is seen without colours, too. */
export const STYLE = `
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --back: #fff; --box: #f6f8fa;
  --encrypted: #1f5fa8; --free: #5b8bbf; --clear: #b84a00; --clear-soft: #f3b27f; --other: #8a929b; --start: #7b2d8b;
  --logs: #00796b; --track: #eaeef2 }
@media screen and (prefers-color-scheme: dark) { :root { color-scheme: dark; --ink: #e6edf3; --soft: #9ba5b0;
  --line: #3a424c; --back: #12161b; --box: #1b2129; --encrypted: #6aa6f0; --free: #3f72b3; --clear: #ff9a52;
  --clear-soft: #8f4a17; --other: #7d858f; --start: #c58be0; --logs: #3fbfa8; --track: #252c35 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 62rem; color: var(--ink); background: var(--back);
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .3rem }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem }
p, ul { margin: .4rem 0 }
.soft { color: var(--soft) }
.verdict { font-size: 1.05rem; border-left: 4px solid var(--encrypted); background: var(--box); padding: .6rem .9rem;
  margin: 1rem 0 }
.verdict.warning { border-color: var(--clear) }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .6rem; margin: 1rem 0;
  padding: 0; list-style: none }
.tiles li { background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: .5rem .8rem;
  color: var(--soft) }
.tiles b { display: block; font-size: 1.3rem; color: var(--ink) }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; list-style: none; font-size: .87rem }
.legend svg { margin-right: .4rem; vertical-align: -2px }
.bars { display: block; margin: .8rem 0 }
text { fill: var(--ink); font-size: 13px }
text.value { text-anchor: end; fill: var(--soft) }
.defs { position: absolute }
.track { fill: var(--track) }
.encrypted { fill: var(--encrypted) } .free { fill: var(--free) } .other { fill: var(--other) }
.start { fill: var(--start) } .logs { fill: var(--logs) } .clear { fill: url(#hatch); stroke: var(--clear) }
.hatch-back { fill: var(--clear-soft) } .hatch-line { stroke: var(--clear); stroke-width: 4 }
.table { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .87rem; font-variant-numeric: tabular-nums;
  overflow-wrap: break-word }
caption { text-align: left; color: var(--soft); padding: .3rem 0 }
th, td { text-align: left; vertical-align: top; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line) }
th { font-weight: 600 }
td { min-width: 5.5rem }
td:first-child { min-width: 10rem; overflow-wrap: anywhere }
th.number, td.number { text-align: right; white-space: nowrap }
summary { cursor: pointer; padding: .3rem 0 }
@media print, (min-width: 700px) { td:first-child { min-width: 15rem } }
@page { size: A4; margin: 16mm 14mm }
@media print {
  body { padding: 0; max-width: none; font-size: 10pt }
  h2, h2 + p { break-after: avoid } tr, .tiles li, .bars, .verdict { break-inside: avoid } thead { display: table-header-group }
  .table { overflow: visible } table { font-size: 8.5pt } svg, rect, .tiles li, .verdict { print-color-adjust: exact }
}
`;
