"""What builds the site.

    pages, notebooks -> _execute (outputs, or those of stored/) -> _stage -> Zensical -> _html

`_stage` copies each page, with what its code shows below the code, into build/site/docs and fills
in what is generated: the API (`_api`), the help of commands, tables of agreement (`agreement`), the
grid of the gallery. Zensical turns the Markdown into pages, strictly; `_html` sets the equations as
MathML and checks that nothing is asked of the network.
"""
