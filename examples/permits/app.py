"""Permits: applications of citizens, decided by two people, in the offices of a ministry."""

from forge_min.app import App

app = App()
app.sign_in()
app.administration("administrator")
app.manual("clerk", "officer")
