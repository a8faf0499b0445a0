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
main { display: flex; flex-direction: column; gap: 4px; max-width: 1600px; }
section { min-width: 0; } .side { display: contents; }
.lines { order: 1; } .controls { order: 2; } .numbers { order: 3; } .law { order: 4; }
.images { order: 5; }
@media (min-width: 900px) {
  main { display: grid; gap: 28px; align-items: start;
    grid-template-columns: 290px minmax(0, 1.2fr) minmax(0, 1fr); }
  .side { display: flex; flex-direction: column; gap: 4px; min-width: 0; }
}
</style>
{{ bokeh_css if bokeh_css }}
{{ bokeh_js if bokeh_js }}
{% endblock %}
{% block inner_body %}
{% from macros import embed %}
<h1>hopfax explore</h1>
<main>
{% for side in (("choice", "controls"), ("lines",), ("numbers", "law", "images")) %}
<div class="side">
{% for part in side %}<section class="{{ part }}">{{ embed(roots[part]) }}</section>{% endfor %}
</div>
{% endfor %}
</main>
{{ plot_script }}
{% endblock %}
"""
