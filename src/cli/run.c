/* SPDX-License-Identifier: Apache-2.0
 *
 * mallard run: a program on Mallard, with a server beside it.
 *
 * Order: the folder, the server (so that a taken port is known before anything runs), the
 * program. Then we are nothing but its shadow: signals go through, its status becomes ours. When
 * it was killed its box is still there, and its last heap profile is written to a file.
 *
 * A program that puts itself in the background ends, for us, when the process that we started
 * does: like env(1) we end with its status, and the server with us. What lives on keeps its box.
 *
 * SYNCHRONIZATION  The server's threads read the folder; `main_pid` is atomic.
 *
 * It must never end before the program without a word, nor change what the program sees beyond
 * LD_PRELOAD and the MALLARD_ variables DIR, EAGER, KEEP and HTTP.
 */
#include "cli/cli.h"

#include "cli/check.h"
#include "cli/death.h"
#include "cli/run_child.h"
#include "cli/run_place.h"
#include "http/heap_file.h"
#include "http/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_ADDRESS "127.0.0.1:6060"
#define FREE_ADDRESS "127.0.0.1:0"
#define PATH_BYTES (PATH_MAX + 128)

enum { QUIET = 1u << 0, INSECURE = 1u << 1 };

struct run {
    const char *http; /* NULL: the default, or a free port when that is taken; or "off" */
    const char *token_file;
    const char *keep;
    unsigned flags;
    char **program;
    char folder[PATH_MAX];
    struct http_folder_source source;
    struct http_server *server;
    struct run_child child;
};

/* ---- before ---- */

static int start_server(struct run *run) {
    char problem[HTTP_PROBLEM_BYTES];
    char token[HTTP_TOKEN_BYTES];
    run->source = (struct http_folder_source){.folder = run->folder};
    struct http_options options = {
        .address = run->http != NULL ? run->http : DEFAULT_ADDRESS,
        .flags = run->flags & INSECURE ? HTTP_ALLOW_INSECURE : 0,
        .source = http_folder_source(&run->source),
    };
    int error = 0;
    if (run->http != NULL && strcmp(run->http, "off") == 0)
        return 0;
    if (run->token_file != NULL) {
        error = http_token_read(run->token_file, token, problem);
        options.token = token;
    }
    if (error == 0)
        error = http_server_start(&options, &run->server, problem);
    if (error == -EADDRINUSE && run->http == NULL) {
        options.address = FREE_ADDRESS;
        error = http_server_start(&options, &run->server, problem);
    }
    if (error < 0)
        cli_say("%s", problem);
    return error;
}

static int prepare(struct run *run) {
    char library[PATH_MAX];
    int error =
        run->keep != NULL ? run_folder_keep(run->keep, run->folder) : run_folder_make(run->folder);
    if (error < 0)
        return error;
    run_library_find(library);
    /* musl's loader would not go on without a word, but end the program. */
    bool preloads = !cli_program_is_musls(run->program[0]);
    error = run_environment_set(preloads ? library : NULL, run->folder);
    if (error == 0 && run->keep != NULL)
        error = setenv("MALLARD_KEEP", "1", 1) != 0 ? -ENOMEM : 0;
    return error;
}

static void announce(const struct run *run) {
    const char *problem = cli_check_program(run->program[0]);
    if (run->flags & QUIET)
        return;
    if (problem != NULL)
        cli_say("%s will not show up: %s", run->program[0], problem);
    if (run->server == NULL)
        return;
    const char *address = http_server_address(run->server);
    bool unix_socket = strncmp(address, "unix:", 5) == 0;
    bool moved = run->http == NULL && strcmp(address, DEFAULT_ADDRESS) != 0;
    const char *note = moved ? " (" DEFAULT_ADDRESS " is taken)" : "";
    if (unix_socket)
        cli_say("%s serves pid %d", address, (int)run->child.pid);
    else
        cli_say("http://%s/debug/pprof/ serves pid %d%s; its page: http://%s/", address,
                (int)run->child.pid, note, address);
}

/* ---- after ---- */

/* The program's name as part of a file name. */
static void file_part(const char *program, char ret_part[64]) {
    const char *slash = strrchr(program, '/');
    snprintf(ret_part, 64, "%.63s", slash != NULL ? slash + 1 : program);
    for (char *c = ret_part; *c != '\0'; c++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c) == NULL)
            *c = '_';
}

static int open_box(struct run *run, struct mal_box_reader **ret_reader) {
    struct http_source source = http_folder_source(&run->source);
    const struct http_ask ask = {{(uint32_t)run->child.pid, 0}, HTTP_VIEWER_ALL};
    return http_source_take(&source, &ask, ret_reader);
}

/* Only a parent knows how a process ended: noted in the box, it is there for whoever watches. */
static void note_end(struct run *run, int status) {
    struct mal_box_reader *reader;
    if (open_box(run, &reader) < 0)
        return;
    mal_box_set_wait_status(mal_reader_path(reader), status);
    mal_reader_close(reader);
}

/* -ENODATA: there is no box. */
static int write_last_heap(struct run *run, const char *path) {
    struct mal_box_reader *reader;
    if (open_box(run, &reader) < 0)
        return -ENODATA;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int error = fd < 0 ? -errno : http_heap_write(reader, VIEW_HEAP, fd);
    if (fd >= 0 && close(fd) < 0 && error == 0)
        error = -errno;
    if (fd >= 0 && error < 0)
        unlink(path); /* a part of a profile is none */
    mal_reader_close(reader);
    return error;
}

static void name_last_heap(const struct run *run, const char *folder, char ret_path[PATH_BYTES]) {
    char part[64];
    file_part(run->program[0], part);
    snprintf(ret_path, PATH_BYTES, "%s/mallard.%s.%d.heap.pb.gz", folder, part,
             (int)run->child.pid);
}

/* Where the program was started, or in --keep's folder; when that is full or not ours to write to,
 * among temporary files: the box goes, and what it knows must not. */
static int save_last_heap(struct run *run, char ret_path[PATH_BYTES]) {
    const char *temporary = getenv("TMPDIR");
    char other[PATH_BYTES];
    name_last_heap(run, run->keep != NULL ? run->folder : ".", ret_path);
    int error = write_last_heap(run, ret_path);
    if (error == 0 || error == -ENODATA)
        return error;
    name_last_heap(run, temporary != NULL && *temporary == '/' ? temporary : "/tmp", other);
    if (write_last_heap(run, other) < 0)
        return error;
    memcpy(ret_path, other, PATH_BYTES);
    return 0;
}

static void tell_death(struct run *run, int signal) {
    char name[DEATH_BYTES];
    char path[PATH_BYTES];
    int error = save_last_heap(run, path);
    if (run->flags & QUIET)
        return;
    death_signal_name(signal, name);
    if (error == 0)
        cli_say("pid %d was ended by %s; its last heap profile is %s", (int)run->child.pid, name,
                path);
    else if (error == -ENODATA)
        cli_say("pid %d was ended by %s and left no box", (int)run->child.pid, name);
    else
        cli_say("pid %d was ended by %s; its last heap profile cannot be written to %s: %s",
                (int)run->child.pid, name, path, cli_words(error));
}

static int program_status(struct run *run, int status) {
    note_end(run, status);
    if (!WIFSIGNALED(status))
        return WEXITSTATUS(status);
    tell_death(run, WTERMSIG(status));
    return CLI_SIGNALLED + WTERMSIG(status);
}

/* ---- the whole ---- */

static int run_program(struct run *run) {
    int error = run_child_start(&run->child, run->program);
    if (error < 0) {
        cli_say("cannot execute %s: %s", run->program[0], strerror(-error));
        return error == -ENOENT ? CLI_NOT_FOUND : CLI_CANNOT_EXECUTE;
    }
    atomic_store(&run->source.main_pid, (uint32_t)run->child.pid);
    announce(run);
    return program_status(run, run_child_wait(&run->child));
}

static int run_all(struct run *run) {
    run_child_prepare(&run->child);
    int error = prepare(run);
    if (error == 0)
        error = start_server(run);
    int status = error == 0 ? run_program(run) : error == -EINVAL ? CLI_USAGE : CLI_FAILED;
    http_server_stop(run->server);
    if (run->keep == NULL && *run->folder != '\0')
        run_folder_remove(run->folder);
    return status;
}

static int run_run(const struct cli_command *command, int count, char **arguments) {
    struct run run = {0};
    const struct cli_option known[] = {
        {"--http", NULL, &run.http, 0},       {"--token-file", NULL, &run.token_file, 0},
        {"--keep", NULL, &run.keep, 0},       {"--quiet", "-q", NULL, QUIET},
        {"--insecure", NULL, NULL, INSECURE},
    };
    struct cli_options options = {known, MAL_COUNT_OF(known), 0};
    int at = cli_parse(command, &options, count, arguments);
    if (at < 0)
        return cli_parse_status(at);
    if (at >= count)
        return cli_usage(command, "run needs a program");
    run.flags = options.flags;
    run.program = arguments + at;
    return run_all(&run);
}

const struct cli_command cli_run = {
    .name = "run",
    .summary = "run a program on Mallard and serve its memory over HTTP",
    .help =
        "usage: mallard run [OPTIONS] [--] PROGRAM [ARGUMENTS]\n\n"
        "Runs the program, unchanged, with Mallard as its allocator, and shows what it and its\n"
        "descendants use until it ends: to people at http://127.0.0.1:6060/, to pprof and its\n"
        "like at http://127.0.0.1:6060/debug/pprof/.\n\n"
        "  --http ADDRESS     listen there instead: 127.0.0.1:7070, [::1]:0, unix:/path; off: "
        "serve\n"
        "                     nothing. Without this option a free port is taken when 6060 is not\n"
        "                     free\n"
        "  --token-file FILE  clients need the token in this file; other machines can be let in\n"
        "                     only with one\n"
        "  --insecure         let other machines in without a token\n"
        "  --keep DIR         put the boxes of all processes in DIR and leave them there\n"
        "  -q, --quiet        say nothing unless something is wrong\n\n"
        "Signals sent to mallard go to the program. When the program is killed, its last heap\n"
        "profile is written to ./mallard.NAME.PID.heap.pb.gz, or into DIR with --keep, or where\n"
        "that cannot be, in $TMPDIR or /tmp. When the program puts itself in the background,\n"
        "mallard ends with it; what lives on is still in 'mallard ps'.\n\n"
        "Exit status: the program's own; 128+N when signal N ended it; 126 it cannot be\n"
        "executed; 127 it was not found; 1 nothing was started because something else failed;\n"
        "2 wrong arguments.\n",
    .run = run_run,
};
