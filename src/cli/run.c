/* SPDX-License-Identifier: Apache-2.0
 *
 * `mallard run -- CMD`: a program and all that it starts, under the allocator, with the endpoints.
 *
 * The boxes of the whole process tree lie in one private folder, which the children inherit by
 * MALLARD_DIR; the server reads that folder. The order is: folder, server, program, so that an
 * address that cannot be had is known before the program runs. Afterwards: the program's exit status
 * becomes ours; if a signal ended it, its box is still there, and its last heap profile is written
 * where the user can find it. Descendants that live on keep their boxes; nobody serves them.
 */
#include "cli/child.h"
#include "cli/cli.h"
#include "cli/heap.h"
#include "cli/place.h"
#include "http/server.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_ADDRESS "127.0.0.1:6060"
#define ANY_PORT_ADDRESS "127.0.0.1:0"
#define CANNOT_EXECUTE 126
#define NOT_FOUND 127

static const char help_text[] =
    "Usage: mallard run [OPTIONS] [--] CMD [ARGUMENTS]\n\n"
    "Runs CMD and all that it starts under Mallard and serves /debug/pprof/ for them.\n\n"
    "  --http ADDR      serve there (default 127.0.0.1:6060, or a free port when that is taken);\n"
    "                   HOST:PORT, [HOST]:PORT, unix:PATH, or off\n"
    "  --token-file F   ask clients for the token in F; needed for addresses that are not local\n"
    "  --keep DIR       keep the boxes there, and the last profile of a killed program\n"
    "  --quiet          say nothing unless something fails\n\n"
    "Signals are passed on. When a signal ends CMD, its last heap profile is written and named.\n"
    "Exit status: CMD's own; 128 + N when signal N ended it; 126 CMD cannot be executed, 127 it is\n"
    "not found; 1 Mallard failed before CMD began; 2 usage.\n";

enum run_flags { RUN_QUIET = 1u << 0, RUN_ADDRESS_GIVEN = 1u << 1, RUN_NO_HTTP = 1u << 2 };

struct run {
    const char *address;
    const char *token_file;
    const char *keep;
    unsigned flags; /* enum run_flags */
    char **command;
    char folder[PATH_MAX];
    char library[PATH_MAX];
    char token[HTTP_TOKEN_BYTES];
    struct http_folder_source boxes;
    struct http_server *server;
};

/* The value of an option: "--http ADDR" or "--http=ADDR". NULL when `argument` is another one. */
static const char *value_of(const char *option, char **argv, int *at) {
    size_t length = strlen(option);
    if (strncmp(argv[*at], option, length) != 0)
        return NULL;
    if (argv[*at][length] == '=')
        return argv[*at] + length + 1;
    return argv[*at][length] == '\0' && argv[*at + 1] ? argv[++*at] : NULL;
}

static bool take_option(struct run *run, char **argv, int *at) {
    const char *value;
    if (strcmp(argv[*at], "--quiet") == 0 || strcmp(argv[*at], "-q") == 0)
        run->flags |= RUN_QUIET;
    else if ((value = value_of("--http", argv, at)) != NULL) {
        run->address = value;
        run->flags |= strcmp(value, "off") == 0 ? RUN_NO_HTTP : RUN_ADDRESS_GIVEN;
    } else if ((value = value_of("--token-file", argv, at)) != NULL)
        run->token_file = value;
    else if ((value = value_of("--keep", argv, at)) != NULL)
        run->keep = value;
    else
        return false;
    return true;
}

static int parse(struct run *run, char **argv) {
    int i = 1;
    for (; argv[i] && argv[i][0] == '-' && strcmp(argv[i], "--") != 0; i++)
        if (!take_option(run, argv, &i))
            return cli_misuse("run", "unexpected option '%s', or its value is missing", argv[i]);
    if (argv[i] && strcmp(argv[i], "--") == 0)
        i++;
    run->command = argv + i;
    return argv[i] ? CLI_OK : cli_misuse("run", "which program?");
}

static int start_at(struct run *run, const char *address, char problem[HTTP_PROBLEM_BYTES]) {
    struct http_options options = {
        .address = address,
        .token = run->token_file ? run->token : NULL,
        .source = http_folder_source(&run->boxes),
    };
    return http_server_start(&options, &run->server, problem);
}

/* A taken default port is no reason not to run; one that was asked for is. */
static int start_server(struct run *run) {
    char problem[HTTP_PROBLEM_BYTES] = "";
    if (run->flags & RUN_NO_HTTP)
        return CLI_OK;
    if (run->token_file && http_token_read(run->token_file, run->token, problem) != 0)
        return cli_fail("%s", problem);
    int error = start_at(run, run->address, problem);
    if (error == -EADDRINUSE && !(run->flags & RUN_ADDRESS_GIVEN)) {
        fprintf(stderr, "mallard: %s is taken: using a free port\n", run->address);
        error = start_at(run, ANY_PORT_ADDRESS, problem);
    }
    return error ? cli_fail("%s", problem) : CLI_OK;
}

static void announce(const struct run *run, pid_t pid) {
    if (run->flags & RUN_QUIET || !run->server)
        return;
    const char *address = http_server_address(run->server);
    bool is_unix = strncmp(address, "unix:", 5) == 0;
    fprintf(stderr, "mallard: %s%s/debug/pprof/ serves process %d\n", is_unix ? "" : "http://",
            address, pid);
}

/* The name of the program's file, for the profile it leaves. */
static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void save_profile(const struct run *run, struct mal_box_reader *reader, pid_t pid) {
    char path[PATH_MAX + 128];
    snprintf(path, sizeof path, "%s/mallard.%.60s.%d.heap.pb.gz", run->keep ? run->folder : ".",
             base_name(run->command[0]), pid);
    int error = cli_write_heap(reader, path);
    if (error)
        cli_fail("its last heap profile cannot be written to %s: %s", path, strerror(-error));
    else
        fprintf(stderr, "mallard: its last heap profile: go tool pprof %s\n", path);
}

static void report_death(struct run *run, pid_t pid, int signal) {
    struct http_source source = http_folder_source(&run->boxes);
    struct mal_box_reader *reader;
    fprintf(stderr, "mallard: process %d was ended by signal %d (%s)\n", pid, signal,
            strsignal(signal));
    if (source.open(source.context, (uint32_t)pid, &reader) != 0) {
        cli_fail("it left no box, so there is no profile of it");
        return;
    }
    save_profile(run, reader, pid);
    mal_reader_close(reader);
}

static int exit_status(struct run *run, pid_t pid, int status) {
    if (!WIFSIGNALED(status))
        return WEXITSTATUS(status);
    report_death(run, pid, WTERMSIG(status));
    return 128 + WTERMSIG(status);
}

static int run_program(struct run *run) {
    struct cli_child_options options = {run->command, run->library, run->folder};
    pid_t pid = cli_child_start(&options);
    if (pid < 0) {
        cli_fail("%s cannot be executed: %s", run->command[0], strerror(-pid));
        return pid == -ENOENT ? NOT_FOUND : CANNOT_EXECUTE;
    }
    atomic_store(&run->boxes.main_pid, (uint32_t)pid);
    announce(run, pid);
    return exit_status(run, pid, cli_child_wait(pid));
}

static int prepare(struct run *run) {
    int error = cli_make_folder(run->keep, run->folder, sizeof run->folder);
    if (error)
        return cli_fail("%s cannot hold the boxes: %s", run->keep ? run->keep : "no folder",
                        strerror(-error));
    cli_find_library(run->library, sizeof run->library);
    run->boxes.folder = run->folder;
    cli_child_block_signals();
    return start_server(run);
}

static int run_command(int argc, char **argv) {
    static struct run run = {.address = DEFAULT_ADDRESS};
    if (cli_help_asked(&cli_run, argc, argv))
        return CLI_OK;
    int status = parse(&run, argv);
    if (status != CLI_OK)
        return status;
    status = prepare(&run);
    if (status == CLI_OK)
        status = run_program(&run);
    http_server_stop(run.server);
    if (!run.keep && run.folder[0])
        cli_remove_folder(run.folder);
    return status;
}

const struct cli_command cli_run = {"run", run_command, "run a program and serve its profiles",
                                    help_text};
