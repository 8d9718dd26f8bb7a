"""transferkit doctor"""

import sys

import click

from transferkit.commands import options, result_output


@click.command(short_help="Check the installation, with a short training.")
@options.json_option
def command(as_json):
    """Check versions, cache folder, weights and devices, and train a small network, in about ten seconds.

    \b
    Example: transferkit doctor

    The last line says whether everything works; the exit status is 1 if it does not.
    """
    from transferkit.training import doctor

    findings = []
    for finding in doctor.examine():
        findings.append(finding)
        if not as_json:
            result_output.print_line(f"{finding.part:14} {finding.value}")
            sys.stdout.flush()  # each line at once, in a pipe too
    problems = [finding.problem for finding in findings if finding.problem]
    if as_json:
        result_output.print_json({finding.part: finding.value for finding in findings} | {"problems": problems})
    else:
        result_output.print_line(_verdict(problems))
    return int(bool(problems))


def _verdict(problems: list[str]) -> str:
    if not problems:
        return "Everything works."
    return f"{len(problems)} problem{'s' * (len(problems) > 1)}: {'; '.join(problems)}."
