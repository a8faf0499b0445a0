"""Reports as one HTML file, drawn by Bokeh (extra `web`).

Bokeh, not Plotly: its script for pictures without widgets has 1.3 MB where Plotly's has 4.5 MB,
what happens at a click is a few lines of JavaScript that can be read (`CustomJS`), and the same
figures can be served live by Bokeh's own server. The file holds everything that it shows: it needs
no server and asks for nothing over the network. Sliders and choices are those of HTML, for the
keyboard.

_words     labels as they are written for matplotlib, as HTML and as plain text
_pack      arrays as text in the file
_diagram   what is drawn of a sweep: axes, values, colours, theory; without Bokeh
_lines     the theory that is drawn over it
_rerun     which points are simulated again, and their runs in as few numbers as show them
_figures   these as figures of Bokeh
_page      tables of settings and statuses, and the file;  page.html, page.css, page.js: its parts
_report    `report`, which puts these together
"""
