"""The frame of the page, in the fonts of the system: three columns where there is room."""

#: Fills blocks of the template that Bokeh has for pages.
TEMPLATE = """
{% block inner_head %}
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
main { display: grid; gap: 4px 28px; grid-template-columns: minmax(0, 1fr); max-width: 1600px; }
main > * { min-width: 0; }
@media (min-width: 900px) {
  main { grid-template-columns: 290px minmax(0, 1.2fr) minmax(0, 1fr);
    grid-template-rows: auto auto auto 1fr; }
  .choice { grid-area: 1 / 1 / 2 / 2; } .controls { grid-area: 2 / 1 / 5 / 2; }
  .lines { grid-area: 1 / 2 / 5 / 3; } .numbers { grid-area: 1 / 3 / 2 / 4; }
  .law { grid-area: 2 / 3 / 3 / 4; } .images { grid-area: 3 / 3 / 4 / 4; }
}
</style>
{{ bokeh_css if bokeh_css }}
{{ bokeh_js if bokeh_js }}
{% endblock %}
{% block inner_body %}
{% from macros import embed %}
<h1>hopfax explore</h1>
<main>
{% for part in ("choice", "lines", "controls", "numbers", "law", "images") %}
<section class="{{ part }}">{{ embed(roots[part]) }}</section>
{% endfor %}
</main>
{{ plot_script }}
{% endblock %}
"""
