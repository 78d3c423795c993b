/* SPDX-License-Identifier: Apache-2.0
 *
 * mallard check: will this program run on Mallard, and if not, why.
 *
 * A program is followed through "#!" lines to the file that the kernel really loads. What each
 * fact of that file means is a table. A process is checked by its file, then by what it has mapped
 * and whether it has a box.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/check.h"

#include "cli/cli.h"
#include "cli/clip.h"
#include "cli/elf_facts.h"
#include "cli/foreign.h"

#include <errno.h>
#include <gnu/libc-version.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCRIPTS_MAX 5
#define GLIBC_MAJOR 2
#define GLIBC_MINOR 35

struct finding {
    unsigned flag;
    const char *problem;
    const char *good; /* when the flag is not set; NULL: says nothing */
};

static const struct finding findings[] = {
    {ELF_OTHER_MACHINE, "it is built for another machine than Mallard", "built for this machine"},
    {ELF_STATIC, "it is statically linked: there is no loader to put Mallard in",
     "dynamically linked"},
    {ELF_MUSL, "it uses musl's loader; Mallard is built for glibc", "uses glibc's loader"},
    {ELF_RAISES_RIGHTS,
     "it is setuid, setgid or has capabilities: the loader then ignores LD_PRELOAD",
     "gives you no additional rights"},
    {ELF_EXPORTS_MALLOC, "it defines malloc itself and exports it, ahead of any other", NULL},
    {ELF_CONTAINS_MALLOC, "it has a malloc of its own linked in", "has no malloc of its own"},
};

static const char *first_problem(const struct elf_facts *facts) {
    for (size_t i = 0; i < MAL_COUNT_OF(findings); i++)
        if (facts->flags & findings[i].flag)
            return findings[i].problem;
    return NULL;
}

/* A note about a name that a file chose. */
static void print_note(const char *begin, const char *name, const char *end) {
    char *safe = clip_printable(name, strlen(name));
    printf("  note     %s%s%s\n", begin, safe != NULL ? safe : "?", end);
    free(safe);
}

/* Follows scripts to what is loaded. `print` tells each step. */
static int read_loaded(const char *program, bool print, struct elf_facts *ret_facts) {
    char path[PATH_MAX];
    int error = cli_find_program(program, path);
    for (int depth = 0; error == 0 && depth < SCRIPTS_MAX; depth++) {
        error = elf_facts_read(path, ret_facts);
        if (error < 0 || ret_facts->flags & ELF_IS_ELF)
            return error;
        if (print)
            print_note("it is a script for ", ret_facts->script, "");
        error = cli_find_program(ret_facts->script, path);
    }
    return error < 0 ? error : -ELOOP;
}

const char *cli_check_program(const char *program) {
    struct elf_facts facts;
    return read_loaded(program, false, &facts) < 0 ? NULL : first_problem(&facts);
}

bool cli_program_is_musls(const char *program) {
    struct elf_facts facts;
    return read_loaded(program, false, &facts) == 0 && facts.flags & ELF_MUSL;
}

static void print_facts(const struct elf_facts *facts) {
    for (size_t i = 0; i < MAL_COUNT_OF(findings); i++) {
        bool problem = facts->flags & findings[i].flag;
        if (problem)
            printf("  problem  %s\n", findings[i].problem);
        else if (findings[i].good != NULL)
            printf("  ok       %s\n", findings[i].good);
        if (problem && findings[i].flag & (ELF_OTHER_MACHINE | ELF_STATIC))
            return;
    }
    if (facts->flags & ELF_RAISES_OTHERS)
        puts("  note     it is setuid, setgid or has capabilities: other users get it without "
             "Mallard");
    if (*facts->allocator != '\0')
        print_note("it needs ", facts->allocator, ", whose malloc is then not used");
}

static bool libc_is_new_enough(void) {
    int major = 0;
    int minor = 0;
    sscanf(gnu_get_libc_version(), "%d.%d", &major, &minor);
    bool enough = major > GLIBC_MAJOR || (major == GLIBC_MAJOR && minor >= GLIBC_MINOR);
    printf("  %s glibc %s here, %d.%d needed\n", enough ? "ok      " : "problem ",
           gnu_get_libc_version(), GLIBC_MAJOR, GLIBC_MINOR);
    return enough;
}

/* Prints the verdict on its own line, last. */
static int verdict(const char *problem) {
    if (problem == NULL)
        puts("works");
    else
        printf("does not work: %s\n", problem);
    return problem == NULL ? CLI_OK : CLI_FAILED;
}

static const char *check_file(const char *program) {
    struct elf_facts facts;
    int error = read_loaded(program, true, &facts);
    if (error == -ENOENT)
        return "there is no such program";
    if (error == -ENOEXEC)
        return "it is neither an ELF file nor a script";
    if (error == -EISDIR)
        return "it is a folder";
    if (error < 0)
        return strerror(-error);
    print_facts(&facts);
    const char *problem = first_problem(&facts);
    if (problem == NULL && !libc_is_new_enough())
        problem = "the C library is too old";
    return problem;
}

static bool has_mapped(uint32_t pid) {
    char line[PATH_MAX + 128];
    bool found = false;
    snprintf(line, sizeof line, "/proc/%" PRIu32 "/maps", pid);
    FILE *maps = fopen(line, "re");
    while (maps != NULL && !found && fgets(line, sizeof line, maps) != NULL)
        found = strstr(line, "/libmallard.so") != NULL;
    if (maps != NULL)
        fclose(maps);
    return found;
}

static bool has_box(uint32_t pid) {
    struct cli_boxes boxes;
    struct mal_box_reader *reader;
    if (cli_boxes_find(&boxes) < 0)
        return false;
    struct http_source source = http_folder_source(&boxes.source);
    const struct http_ask ask = {{pid, 0}, HTTP_VIEWER_ALL};
    if (http_source_take(&source, &ask, &reader) < 0)
        return false;
    mal_reader_close(reader);
    return true;
}

static const char *has_foreign_box(const struct foreign_box *foreign) {
    printf("  problem  it has a box of layout %" PRIu32 " here, and this mallard reads layout %u\n",
           foreign->version, MAL_BOX_VERSION);
    return "it runs on another version of Mallard";
}

/* Why nothing can be told about the process; NULL: its program can be read. */
static const char *unreadable(uint32_t pid, const char *exe) {
    if (kill((pid_t)pid, 0) < 0 && errno == ESRCH)
        return "there is no such process";
    if (access(exe, R_OK) == 0)
        return NULL;
    if (errno == ENOENT)
        return "it has no program: it is a part of the kernel, or has ended";
    return geteuid() == 0 ? "it is out of reach: looking at it takes CAP_SYS_PTRACE"
                          : "it is another user's, and only they and root may look";
}

static const char *check_process(uint32_t pid) {
    char exe[64];
    struct foreign_box foreign;
    snprintf(exe, sizeof exe, "/proc/%" PRIu32 "/exe", pid);
    const char *problem = unreadable(pid, exe);
    if (problem != NULL)
        return problem;
    problem = check_file(exe);
    bool mapped = has_mapped(pid);
    bool box = has_box(pid);
    printf("  %s libmallard is %sloaded in it\n", mapped ? "ok      " : "note    ",
           mapped ? "" : "not ");
    if (!box && foreign_find(&(struct http_key){pid, 0}, &foreign) && foreign.alive)
        return has_foreign_box(&foreign);
    printf("  %s it has %s box here\n", box ? "ok      " : "note    ", box ? "a" : "no");
    if (mapped && box)
        return NULL;
    if (problem != NULL)
        return problem;
    return mapped ? "it keeps its box in another folder, or has none yet: it has hardly allocated"
                  : "it was not started with Mallard";
}

static int run_check(const struct cli_command *command, int count, char **arguments) {
    struct cli_options options = {NULL, 0, 0};
    const char *subject;
    uint32_t pid;
    int parsed = cli_parse_one(command, &options, count, arguments, &subject);
    if (parsed < 0)
        return cli_parse_status(parsed);
    if (subject == NULL)
        return cli_usage(command, "check needs a program or a process id");
    printf("%s:\n", subject);
    if (cli_parse_pid(subject, &pid) == 0)
        return verdict(check_process(pid));
    return verdict(check_file(subject));
}

const struct cli_command cli_check = {
    .name = "check",
    .summary = "tell whether a program or process can run on Mallard",
    .help = "usage: mallard check PROGRAM | PID\n\n"
            "Looks at what would keep Mallard out: static linking, another machine's or libc's\n"
            "program, setuid or capabilities, a malloc of its own. For a process also whether\n"
            "Mallard is loaded in it and has a box. The last line is 'works' (status 0) or\n"
            "'does not work: REASON' (status 1).\n",
    .run = run_check,
};
