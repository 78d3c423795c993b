/* SPDX-License-Identifier: Apache-2.0
 *
 * `mallard check BINARY|PID`: will it work, and why not.
 *
 * A preloaded library is silently ignored by static programs, by programs that gain rights when they
 * start, and by programs of another libc or machine; and it serves little where another allocator is
 * linked in. Each of these can be read from the file before anything happens. For a process it is
 * also asked whether the library is mapped and whether there is a box.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char help_text[] =
    "Usage: mallard check BINARY|PID\n\n"
    "Says whether a program will run under Mallard, or why a process does not: statically linked,\n"
    "setuid, another libc or machine, an allocator of its own, a script (then its interpreter).\n\n"
    "Exit status: 0 it works, 1 it does not, 2 usage.\n";

struct facts {
    const char *path;
    Elf *elf;
    GElf_Ehdr header;
    unsigned faults;
};

static void good(const char *format, const char *detail) {
    printf("  ok    ");
    printf(format, detail);
    putchar('\n');
}

static void bad(struct facts *facts, const char *format, const char *detail) {
    printf("  fault ");
    printf(format, detail);
    putchar('\n');
    facts->faults++;
}

static void check_rights(struct facts *facts) {
    struct stat st;
    if (stat(facts->path, &st) != 0)
        return;
    if (st.st_mode & (S_ISUID | S_ISGID))
        bad(facts, "%s", "setuid or setgid: the dynamic linker ignores LD_PRELOAD with a path");
    else if (getxattr(facts->path, "security.capability", NULL, 0) > 0)
        bad(facts, "%s", "has file capabilities: the dynamic linker ignores LD_PRELOAD with a path");
    else
        good("%s", "gains no rights when it starts");
}

/* The interpreter a program asks for, or NULL: then it is static. */
static const char *interpreter(struct facts *facts) {
    size_t count;
    if (elf_getphdrnum(facts->elf, &count) != 0)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr segment;
        size_t bytes;
        char *image = elf_rawfile(facts->elf, &bytes);
        if (gelf_getphdr(facts->elf, (int)i, &segment) && segment.p_type == PT_INTERP && image &&
            segment.p_filesz > 0 && segment.p_offset < bytes &&
            segment.p_filesz <= bytes - segment.p_offset &&
            image[segment.p_offset + segment.p_filesz - 1] == '\0')
            return image + segment.p_offset;
    }
    return NULL;
}

static void check_linking(struct facts *facts) {
    const char *path = interpreter(facts);
    if (!path)
        bad(facts, "%s", "statically linked: nothing can be preloaded; link it with libmallard.a");
    else if (strstr(path, "musl"))
        bad(facts, "uses musl (%s): Mallard needs glibc 2.35 or later", path);
    else
        good("dynamically linked by %s", path);
}

static const char *const other_allocators[] = {"libjemalloc", "libtcmalloc", "libmimalloc",
                                               "libsnmalloc", "libhoard"};

static const char *known_allocator(const char *library) {
    for (size_t i = 0; i < MAL_COUNT_OF(other_allocators); i++)
        if (strncmp(library, other_allocators[i], strlen(other_allocators[i])) == 0)
            return library;
    return NULL;
}

/* The section's data if it is of that type, else NULL. */
static Elf_Data *section_data(Elf_Scn *section, unsigned type, GElf_Shdr *ret_header) {
    if (!gelf_getshdr(section, ret_header) || ret_header->sh_type != type ||
        ret_header->sh_entsize == 0)
        return NULL;
    return elf_getdata(section, NULL);
}

static const char *linked_allocator(struct facts *facts, Elf_Scn *section) {
    GElf_Shdr header;
    Elf_Data *data = section_data(section, SHT_DYNAMIC, &header);
    for (size_t i = 0; data && i < header.sh_size / header.sh_entsize; i++) {
        GElf_Dyn entry;
        if (!gelf_getdyn(data, (int)i, &entry) || entry.d_tag != DT_NEEDED)
            continue;
        const char *name = elf_strptr(facts->elf, header.sh_link, entry.d_un.d_val);
        if (name && known_allocator(name))
            return name;
    }
    return NULL;
}

static bool defines_malloc(struct facts *facts, Elf_Scn *section, unsigned type) {
    GElf_Shdr header;
    Elf_Data *data = section_data(section, type, &header);
    for (size_t i = 0; data && i < header.sh_size / header.sh_entsize; i++) {
        GElf_Sym symbol;
        if (!gelf_getsym(data, (int)i, &symbol) || symbol.st_shndx == SHN_UNDEF)
            continue;
        const char *name = elf_strptr(facts->elf, header.sh_link, symbol.st_name);
        if (name && strcmp(name, "malloc") == 0)
            return true;
    }
    return false;
}

static void check_allocator(struct facts *facts) {
    for (Elf_Scn *section = NULL; (section = elf_nextscn(facts->elf, section)) != NULL;) {
        const char *library = linked_allocator(facts, section);
        if (library) {
            good("links %s, which Mallard takes the place of when preloaded", library);
            return;
        }
        if (defines_malloc(facts, section, SHT_DYNSYM) ||
            defines_malloc(facts, section, SHT_SYMTAB)) {
            bad(facts, "%s", "defines malloc itself: its own calls never reach a preloaded library");
            return;
        }
    }
    good("%s", "brings no allocator of its own");
}

static void check_machine(struct facts *facts) {
    struct facts self = {.path = "/proc/self/exe"};
    int fd = open(self.path, O_RDONLY | O_CLOEXEC);
    self.elf = fd >= 0 ? elf_begin(fd, ELF_C_READ_MMAP, NULL) : NULL;
    if (self.elf && gelf_getehdr(self.elf, &self.header)) {
        if (self.header.e_machine == facts->header.e_machine)
            good("%s", "built for this machine");
        else
            bad(facts, "%s", "built for another machine than this library");
    }
    elf_end(self.elf);
    if (fd >= 0)
        close(fd);
}

static int verdict(const struct facts *facts) {
    puts(facts->faults ? "does not work under Mallard" : "works under Mallard");
    return facts->faults ? CLI_FAILED : CLI_OK;
}

static int check_elf(struct facts *facts) {
    if (!gelf_getehdr(facts->elf, &facts->header))
        return cli_fail("%s is not an ELF program", facts->path);
    printf("%s\n", facts->path);
    check_machine(facts);
    check_linking(facts);
    check_rights(facts);
    check_allocator(facts);
    return verdict(facts);
}

static int check_file(const char *path);

/* "#!/usr/bin/env NAME" means NAME; anything else means the interpreter itself. */
static int check_script(const char *path, char *line) {
    line[strcspn(line, "\n")] = '\0';
    char *save;
    char *program = strtok_r(line + 2, " \t", &save);
    char *argument = strtok_r(NULL, " \t", &save);
    if (!program)
        return cli_fail("%s begins with #! and names no interpreter", path);
    if (strstr(program, "/env") && argument && argument[0] != '-')
        program = argument;
    printf("%s is a script of %s\n", path, program);
    return check_file(program);
}

static int check_open_file(int fd, const char *path) {
    char start[256] = "";
    ssize_t got = pread(fd, start, sizeof start - 1, 0);
    if (got > 2 && memcmp(start, "#!", 2) == 0)
        return check_script(path, start);
    struct facts facts = {.path = path, .elf = elf_begin(fd, ELF_C_READ_MMAP, NULL)};
    if (!facts.elf || elf_kind(facts.elf) != ELF_K_ELF) {
        elf_end(facts.elf);
        return cli_fail("%s is not an ELF program", path);
    }
    int status = check_elf(&facts);
    elf_end(facts.elf);
    return status;
}

/* A name without a slash is looked for as the shell would. */
static bool resolve(const char *name, char *ret_path, size_t bytes) {
    const char *folders = getenv("PATH");
    if (strchr(name, '/') || !folders)
        return (size_t)snprintf(ret_path, bytes, "%s", name) < bytes;
    while (*folders) {
        size_t length = strcspn(folders, ":");
        snprintf(ret_path, bytes, "%.*s/%s", (int)length, folders, name);
        if (access(ret_path, X_OK) == 0)
            return true;
        folders += length + (folders[length] == ':');
    }
    return false;
}

static int check_file(const char *name) {
    char path[PATH_MAX];
    if (!resolve(name, path, sizeof path))
        return cli_fail("%s is not in PATH", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cli_fail("%s cannot be opened: %s", path, strerror(errno));
    elf_version(EV_CURRENT);
    int status = check_open_file(fd, path);
    close(fd);
    return status;
}

static bool has_library_mapped(long pid) {
    char line[PATH_MAX + 128];
    snprintf(line, sizeof line, "/proc/%ld/maps", pid);
    FILE *maps = fopen(line, "re");
    bool found = false;
    while (maps && !found && fgets(line, sizeof line, maps))
        found = strstr(line, "libmallard.so") != NULL;
    if (maps)
        fclose(maps);
    return found;
}

struct wanted {
    uint32_t pid;
    bool found;
};

static int look_for_box(const char *path, void *context) {
    struct wanted *wanted = context;
    const char *name = strrchr(path, '/');
    wanted->found |= name && strtoul(name + 1, NULL, 10) == wanted->pid;
    return 0;
}

static int check_process(long pid) {
    char path[64];
    struct wanted wanted = {.pid = (uint32_t)pid};
    snprintf(path, sizeof path, "/proc/%ld/exe", pid);
    if (access(path, F_OK) != 0)
        return cli_fail("there is no process %ld that this user may look at", pid);
    int status = check_file(path);
    bool mapped = has_library_mapped(pid);
    cli_each_box(look_for_box, &wanted);
    printf("  %s libmallard.so is %smapped\n", mapped ? "ok   " : "fault", mapped ? "" : "not ");
    printf("  %s it has %s box here\n", wanted.found ? "ok   " : "fault", wanted.found ? "a" : "no");
    return mapped && wanted.found ? status : CLI_FAILED;
}

static int run(int argc, char **argv) {
    if (cli_help_asked(&cli_check, argc, argv))
        return CLI_OK;
    if (argc != 2)
        return cli_misuse("check", argc < 2 ? "which program or process?" : "one at a time");
    long pid = cli_parse_pid(argv[1]);
    return pid > 0 ? check_process(pid) : check_file(argv[1]);
}

const struct cli_command cli_check = {"check", run, "will a program work under Mallard, or why not",
                                      help_text};
