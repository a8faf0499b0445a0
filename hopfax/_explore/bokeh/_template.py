"""The frame of the page, in the fonts of the system: two columns where there is room."""

TEMPLATE = """{% from macros import embed %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title | e }}</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; padding: 12px 16px 32px; background: #fff; color: #1b1b23;
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 18px; margin: 0 0 8px; }
main { display: grid; gap: 12px 28px; grid-template-columns: minmax(0, 1fr); max-width: 1500px; }
main > * { min-width: 0; }
@media (min-width: 900px) {
  main { grid-template-columns: 300px minmax(0, 1.25fr) minmax(0, 1fr); }
  .controls { grid-row: 1 / span 4; }
  .lines { grid-row: 1 / span 4; grid-column: 2; }
}
@media (max-width: 899px) { .numbers { order: -1; } .lines { order: 1; } .law { order: 2; }
  .images { order: 3; } }
</style>
{{ bokeh_css if bokeh_css }}
{{ bokeh_js if bokeh_js }}
</head>
<body>
<h1>hopfax explore</h1>
<main>
{% for part in ("controls", "lines", "numbers", "law", "images") %}
<section class="{{ part }}">{{ embed(roots[part]) }}</section>
{% endfor %}
</main>
{{ plot_script }}
</body>
</html>
"""
