"""Methods of training, one file each with its `SPEC`; nothing here loads torch before it is used.

`registry` finds them, those of other distributions too. What a method is: `spec.MethodSpec`.
"""
