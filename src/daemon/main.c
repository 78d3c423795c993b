/* SPDX-License-Identifier: Apache-2.0
 *
 * mallardd: watches every process on a host that runs on Mallard, keeps what the dead ones left,
 * and shows all of it over HTTP.
 *
 * SYNCHRONIZATION  None yet: threads begin in daemon_run.
 */
#include "daemon/daemon.h"
#include "daemon/say.h"
#include "daemon/settings.h"

#include <stdio.h>
#include <stdlib.h>

enum { EXIT_OK = 0, EXIT_WRONG = 2 };

static int wrong(const char *problem, const char *where) {
    daemon_say("%s%s", problem, where);
    return EXIT_WRONG;
}

int main(int count, char **arguments) {
    static struct settings flags, settings;
    char problem[SETTINGS_PROBLEM_BYTES];
    enum settings_wish wish;
    settings_default(&flags);
    if (settings_flags(&flags, count, arguments, &wish, problem) < 0)
        return wrong(problem, "; see 'mallardd --help'");
    if (wish == SETTINGS_HELP) {
        fputs(settings_help, stdout);
        return EXIT_OK;
    }
    if (wish == SETTINGS_VERSION) {
        puts("mallardd " MAL_VERSION);
        return EXIT_OK;
    }
    settings = flags;
    if (settings_file(&settings, problem) < 0)
        return wrong(problem, "");
    return daemon_run(&flags, &settings);
}
