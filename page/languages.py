"""The languages that the page can be read in."""

LANGUAGE_PICKER = """<label>Language / Sprache <select><option value="en">English</option>
<option value="de">Deutsch</option></select></label>"""

# The last input of what asks for videos and reports is the language that these shall be in.
IN_LANGUAGE = "(...given) => [...given.slice(0, -1), document.documentElement.lang]"
