"""Paths as variables of a model: states as a function of standard normals.

``parametrizations`` says from which normals, ``paths`` makes the states. Nothing here knows PyMC.
"""
