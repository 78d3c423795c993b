/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a program's file with libelf: loader, machine, needed libraries, own malloc; and the
 * rights that running it would give.
 *
 * The dynamic linker looks for malloc in the program first and in preloaded libraries second, so a
 * program that exports one keeps it. A malloc that is inside but not exported is worse to notice:
 * the program uses it, its libraries do not. A needed library with another malloc comes after
 * ours and is simply not used.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/elf_facts.h"

#include "os/machine.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Rights gained make the loader ignore LD_PRELOAD. Root gains none from capabilities. */
static bool raises_rights(int fd) {
    struct stat info;
    if (fstat(fd, &info) < 0)
        return false;
    if (info.st_mode & S_ISUID && info.st_uid != geteuid())
        return true;
    if (info.st_mode & S_ISGID && info.st_mode & S_IXGRP && info.st_gid != getegid())
        return true;
    return geteuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0;
}

static bool raises_somebodys_rights(int fd) {
    struct stat info;
    if (fstat(fd, &info) < 0)
        return false;
    return info.st_mode & S_ISUID || (info.st_mode & S_ISGID && info.st_mode & S_IXGRP) ||
           fgetxattr(fd, "security.capability", NULL, 0) > 0;
}

/* The word at `text`, ended by blanks or the end of the line. Returns what follows it. */
static const char *take_word(const char *text, char *ret_word, size_t bytes) {
    text += strspn(text, " \t");
    size_t length = strcspn(text, " \t\r\n");
    snprintf(ret_word, bytes, "%.*s", (int)length, text);
    return text + length;
}

/* "#!/usr/bin/env python3" means python3, and "#!/usr/bin/env -S python3 -u" too. */
static int read_script(int fd, struct elf_facts *facts) {
    char line[512] = "";
    char word[256];
    ssize_t bytes = pread(fd, line, sizeof line - 1, 0);
    if (bytes < 0)
        return -errno;
    if (bytes < 3 || strncmp(line, "#!", 2) != 0)
        return -ENOEXEC;
    const char *rest = take_word(line + 2, facts->script, sizeof facts->script);
    const char *slash = strrchr(facts->script, '/');
    if (strcmp(slash != NULL ? slash + 1 : facts->script, "env") != 0)
        return *facts->script != '\0' ? 0 : -ENOEXEC;
    do {
        rest = take_word(rest, word, sizeof word);
    } while (*word == '-' || strchr(word, '=') != NULL);
    if (*word != '\0')
        snprintf(facts->script, sizeof facts->script, "%s", word);
    return 0;
}

static void read_interpreter(Elf *elf, struct elf_facts *facts) {
    size_t count;
    size_t file_bytes;
    const char *file = elf_rawfile(elf, &file_bytes);
    GElf_Phdr header;
    if (elf_getphdrnum(elf, &count) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (gelf_getphdr(elf, (int)i, &header) == NULL || header.p_type != PT_INTERP)
            continue;
        if (file != NULL && header.p_offset < file_bytes &&
            header.p_filesz <= file_bytes - header.p_offset)
            snprintf(facts->interpreter, sizeof facts->interpreter, "%.*s", (int)header.p_filesz,
                     file + header.p_offset);
    }
    if (*facts->interpreter == '\0')
        facts->flags |= ELF_STATIC;
    if (strstr(facts->interpreter, "ld-musl") != NULL)
        facts->flags |= ELF_MUSL;
}

static void note_needed(const char *name, struct elf_facts *facts) {
    static const char *const others[] = {"libjemalloc", "libtcmalloc", "libmimalloc",
                                         "libhoard",    "libsnmalloc", "librpmalloc"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strncmp(name, others[i], strlen(others[i])) == 0)
            snprintf(facts->allocator, sizeof facts->allocator, "%s", name);
}

static void read_needed(Elf *elf, Elf_Scn *section, const GElf_Shdr *header,
                        struct elf_facts *facts) {
    Elf_Data *data = elf_getdata(section, NULL);
    GElf_Dyn entry;
    for (int i = 0; data != NULL && gelf_getdyn(data, i, &entry) != NULL; i++) {
        const char *name =
            entry.d_tag == DT_NEEDED ? elf_strptr(elf, header->sh_link, entry.d_un.d_val) : NULL;
        if (name != NULL)
            note_needed(name, facts);
    }
}

static bool defines_malloc(Elf *elf, Elf_Scn *section, const GElf_Shdr *header) {
    Elf_Data *data = elf_getdata(section, NULL);
    GElf_Sym symbol;
    for (int i = 0; data != NULL && gelf_getsym(data, i, &symbol) != NULL; i++) {
        if (symbol.st_shndx == SHN_UNDEF || GELF_ST_TYPE(symbol.st_info) != STT_FUNC)
            continue;
        const char *name = elf_strptr(elf, header->sh_link, symbol.st_name);
        if (name != NULL && strcmp(name, "malloc") == 0)
            return true;
    }
    return false;
}

static void read_sections(Elf *elf, struct elf_facts *facts) {
    GElf_Shdr header;
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section)) != NULL;) {
        if (gelf_getshdr(section, &header) == NULL)
            continue;
        if (header.sh_type == SHT_DYNAMIC)
            read_needed(elf, section, &header, facts);
        else if (header.sh_type == SHT_DYNSYM && defines_malloc(elf, section, &header))
            facts->flags |= ELF_EXPORTS_MALLOC;
        else if (header.sh_type == SHT_SYMTAB && defines_malloc(elf, section, &header))
            facts->flags |= ELF_CONTAINS_MALLOC;
    }
}

static void read_elf(Elf *elf, struct elf_facts *facts) {
    GElf_Ehdr header;
    facts->flags |= ELF_IS_ELF;
    if (gelf_getehdr(elf, &header) == NULL || header.e_machine != MAL_MACHINE_ELF ||
        gelf_getclass(elf) != ELFCLASS64) {
        facts->flags |= ELF_OTHER_MACHINE;
        return;
    }
    read_interpreter(elf, facts);
    read_sections(elf, facts);
}

int elf_facts_read(const char *path, struct elf_facts *ret_facts) {
    struct elf_facts facts = {0};
    int error = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
    if (elf != NULL && elf_kind(elf) == ELF_K_ELF)
        read_elf(elf, &facts);
    else
        error = read_script(fd, &facts);
    if (raises_rights(fd))
        facts.flags |= ELF_RAISES_RIGHTS;
    else if (raises_somebodys_rights(fd))
        facts.flags |= ELF_RAISES_OTHERS;
    elf_end(elf);
    close(fd);
    if (error == 0)
        *ret_facts = facts;
    return error;
}
