"""How the report page looks, on a screen and on paper."""

STYLE = """
:root { --ink: #1b2430; --soft: #5c6773; --line: #dfe4ea; --pale: #f4f6f8; --good: #1d7f5f;
  --warn: #9a5b00; --warn-pale: #fff6e5; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 36px 32px 48px; color: var(--ink);
  background: #fff; font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans",
  sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 32px; line-height: 1.15; margin: 2px 0 6px; letter-spacing: -0.01em;
  overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 44px 0 12px; padding-bottom: 6px;
  border-bottom: 2px solid var(--ink); }
h3 { font-size: 16px; margin: 0; overflow-wrap: anywhere; }
p { margin: 6px 0; }
.over { font-size: 12px; letter-spacing: 0.09em; text-transform: uppercase; color: var(--soft); }
.soft { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(5, 1fr); gap: 12px; margin: 22px 0 0; }
.tile { background: var(--pale); border-radius: 10px; padding: 12px 14px; }
.tile b { display: block; font-size: 25px; line-height: 1.2; letter-spacing: -0.01em; }
.tile span { font-size: 13px; color: var(--soft); }
.note { background: var(--warn-pale); border-left: 4px solid #e5a000; padding: 8px 14px;
  border-radius: 0 8px 8px 0; margin: 10px 0; overflow-wrap: anywhere; }
.scores { display: grid; grid-template-columns: minmax(90px, max-content) 1fr max-content;
  gap: 7px 14px; align-items: center; margin: 4px 0 20px; }
.scores .name { overflow-wrap: anywhere; max-width: 260px; }
.dot { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 8px; }
.bar { position: relative; height: 14px; background: var(--pale); border-radius: 4px; }
.bar i { position: absolute; inset: 0 auto 0 0; border-radius: 4px; }
.bar u { position: absolute; top: -4px; bottom: -4px; width: 2px; margin-left: -1px;
  background: var(--ink); }
.cards { display: grid; grid-template-columns: 1fr 1fr; gap: 18px; margin-top: 18px; }
.card { border: 1px solid var(--line); border-radius: 12px; overflow: hidden; break-inside: avoid; }
.card img { display: block; width: 100%; background: var(--pale); }
.card .said { padding: 12px 16px 14px; }
.card .top { display: flex; justify-content: space-between; gap: 12px; align-items: baseline; }
.yes { color: var(--good); font-weight: 600; white-space: nowrap; }
.no { color: var(--soft); font-weight: 600; white-space: nowrap; }
figure { margin: 0 0 18px; break-inside: avoid; border: 1px solid var(--line);
  border-radius: 12px; overflow: hidden; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { padding: 8px 16px; font-size: 13px; color: var(--soft); background: var(--pale); }
svg .path { fill: none; stroke: #1f6feb; stroke-width: 1.6; stroke-linejoin: round; opacity: 0.75; }
svg .camera { fill: #1f6feb; fill-opacity: 0.22; stroke: #1f6feb; stroke-width: 1; }
svg .rim { fill: none; stroke: #fff; stroke-width: 5; stroke-linejoin: round; opacity: 0.9; }
svg .box { fill: none; stroke-width: 2.4; stroke-linejoin: round; }
svg .tag { font-size: 13px; font-weight: 600; text-anchor: middle; }
svg path.scale { fill: none; stroke: #1b2430; stroke-width: 1.6; }
svg text.scale { fill: #1b2430; font-size: 13px; text-anchor: middle; paint-order: stroke;
  stroke: #fff; stroke-width: 4px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 12.5px;
  border-bottom: 1.5px solid var(--ink); }
th, td { padding: 5px 10px 5px 0; vertical-align: baseline; }
td { border-bottom: 1px solid var(--line); }
tr { break-inside: avoid; }
thead { display: table-header-group; }
.n { text-align: right; white-space: nowrap; }
.strip { display: block; width: 100%; height: 34px; border-radius: 6px; margin: 4px 0 12px; }
.facts { columns: 2; column-gap: 36px; margin: 0; font-size: 13px; }
.facts div { display: flex; justify-content: space-between; gap: 16px; break-inside: avoid;
  border-bottom: 1px solid var(--line); padding: 3px 0; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
code { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; background: var(--pale);
  padding: 8px 12px; border-radius: 8px; display: block; overflow-wrap: anywhere;
  white-space: pre-wrap; }
footer { margin-top: 40px; font-size: 13px; color: var(--soft); }
@media screen and (max-width: 760px) { .cards { grid-template-columns: 1fr; }
  .tiles { grid-template-columns: 1fr 1fr; } .facts { columns: 1; } body { padding: 20px 16px; }
  .wide { overflow-x: auto; } }
@page { size: A4; margin: 14mm; }
@media print { body { padding: 0; max-width: none; font-size: 11px;
    -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h1 { font-size: 24px; } h2 { font-size: 15px; margin-top: 22px; break-after: avoid; }
  h3 { font-size: 12.5px; } .tile b { font-size: 18px; } .tile span, .over, th, .facts,
  figcaption { font-size: 10px; } table { font-size: 10.5px; } code { font-size: 10px; }
  .cards { gap: 10px; grid-template-columns: 1fr 1fr 1fr; } .card .said { padding: 8px 10px; }
  .card .top { flex-wrap: wrap; } figure svg { max-height: 104mm; } .tiles { gap: 8px; }
  th, td { padding: 2.5px 10px 2.5px 0; } .strip { height: 20px; break-after: avoid; }
  .facts div { padding: 1.5px 0; } footer { font-size: 10px; } }
"""
