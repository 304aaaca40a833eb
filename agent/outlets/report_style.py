"""The style of a report in HTML: dark and light, narrow and wide, on paper. Colours: Okabe and Ito (2008)."""

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--card:#f5f6f8;--ink:#1a1d21;--muted:#565c64;--line:#d5d9de;
--value:#0072b2;--bad:#c24a00;--target:#1a1d21}
@media screen and (prefers-color-scheme:dark){:root{--paper:#14171a;--card:#1e2226;--ink:#eceef0;--muted:#a9b0b8;
--line:#3a4047;--value:#56b4e9;--bad:#ff9d5c;--target:#eceef0}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:76rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0}
h2{font-size:1.25rem;margin:2.5rem 0 .5rem;border-bottom:1px solid var(--line);padding-bottom:.25rem}
h3{font-size:1rem;margin:0}
p{margin:.4rem 0}
.lead{font-size:1.2rem}
.urgent{font-weight:600}
.note{color:var(--muted);font-size:.8125rem}
.first{background:var(--card);border-left:4px solid var(--bad);padding:.75rem 1rem .75rem 2.25rem;margin:.5rem 0}
.first li{margin:.3rem 0}
.scroll{overflow-x:auto;margin:.5rem 0 1rem}
.scroll:focus-visible{outline:2px solid var(--value)}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums;overflow-wrap:normal}
th,td{padding:.3rem .5rem;text-align:left;vertical-align:middle;border-bottom:1px solid var(--line)}
thead th{color:var(--muted);font-weight:600;vertical-align:bottom}
tbody th{font-weight:600;min-width:10rem;max-width:18rem;overflow-wrap:anywhere}
.n{text-align:right;white-space:nowrap}
.verdict{white-space:nowrap}
.verdict strong{color:var(--bad)}
.picture{width:11.25rem;min-width:11.25rem;padding:.1rem .25rem}
.why{min-width:14rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));gap:1rem}
figure{margin:0;padding:.75rem;background:var(--card);border-radius:.5rem}
figure.single{max-width:26rem}
figcaption p{margin:.15rem 0 .4rem;font-size:.875rem}
footer{margin-top:3rem}
@page{margin:14mm}
@media print{body{font-size:10pt;max-width:none;padding:0}h2{break-after:avoid}
figure,tr,.first{break-inside:avoid}.scroll{overflow:visible}
.cards{grid-template-columns:repeat(3,1fr)}table{font-size:7.5pt}th,td{padding:.15rem .25rem}
tbody th,.why{min-width:0}.picture{width:7rem;min-width:7rem}
thead th{white-space:normal}td .note{font-size:7pt}*{print-color-adjust:exact}thead{display:table-header-group}}
"""
