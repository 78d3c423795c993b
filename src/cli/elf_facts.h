/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program's file says about whether another malloc can be put under it.
 */
#ifndef MAL_CLI_ELF_FACTS_H
#define MAL_CLI_ELF_FACTS_H

#include <limits.h>

enum elf_fact_flags {
    ELF_IS_ELF = 1u << 0,
    ELF_OTHER_MACHINE = 1u << 1,   /* another architecture or word size than ours */
    ELF_STATIC = 1u << 2,          /* no interpreter: nothing to preload into */
    ELF_MUSL = 1u << 3,            /* musl's loader */
    ELF_RAISES_RIGHTS = 1u << 4,   /* setuid, setgid or capabilities, for this user */
    ELF_EXPORTS_MALLOC = 1u << 5,  /* defines malloc before any preloaded library */
    ELF_CONTAINS_MALLOC = 1u << 6, /* has a malloc of its own inside */
    ELF_RAISES_OTHERS = 1u << 7    /* setuid, setgid or capabilities, but not for this user */
};

struct elf_facts {
    unsigned flags;             /* enum elf_fact_flags */
    char interpreter[PATH_MAX]; /* the loader, or "" */
    char allocator[64];         /* DT_NEEDED of another allocator, or "" */
    char script[PATH_MAX];      /* not ELF: the program behind "#!", or "" */
};

/* Reads the file. -errno when it cannot be opened or is neither ELF nor a script: -ENOEXEC. */
int elf_facts_read(const char *path, struct elf_facts *ret_facts);

#endif
