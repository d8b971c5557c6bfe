"""What a report says, short enough to compare."""


def errors(report):
    return [(problem.kind, problem.place) for problem in report.errors]


def warnings(report):
    return [(problem.kind, problem.place) for problem in report.warnings]
