"""The lint wing: reads a dataset once into frozen values and runs rules over them. Imports no torch."""
