/* SPDX-License-Identifier: Apache-2.0
 *
 * Registers and the thread pointer, per machine: what a called function must preserve, where the
 * stack ends, how libc finds a thread's dynamic blocks.
 *
 * A value that a caller needs after a call is on the stack or in a callee-saved register: these and
 * the stack from the stack pointer up hold every pointer of a thread that is inside a call.
 */
#ifndef MAL_OS_REGISTERS_H
#define MAL_OS_REGISTERS_H

#include <stdint.h>

/* glibc's table of thread-local blocks: entry n is module n's block for this thread, entry 0's
 * counter the table's generation, and entry -1's counter the last valid n. */
union mal_tls_entry {
    uintptr_t counter;
    struct {
        uintptr_t block; /* UINTPTR_MAX or 0: not made yet */
        uintptr_t to_free;
    } module;
};

#if defined(__x86_64__)

#define MAL_SAVED_REGISTERS 6 /* rbx rbp r12-r15 */

static inline uintptr_t mal_thread_pointer(void) {
    uintptr_t pointer;
    __asm__("movq %%fs:0, %0" : "=r"(pointer));
    return pointer;
}

static inline const union mal_tls_entry *mal_tls_table(uintptr_t thread_pointer) {
    return *(const union mal_tls_entry *const *)(thread_pointer + 8);
}

/* The calling thread's. */
static inline const union mal_tls_entry *mal_tls_own_table(void) {
    const union mal_tls_entry *table;
    __asm__("movq %%fs:8, %0" : "=r"(table));
    return table;
}

static inline uintptr_t mal_stack_pointer(void) {
    uintptr_t pointer;
    __asm__ volatile("movq %%rsp, %0" : "=r"(pointer));
    return pointer;
}

/* Stores the registers as they are now. What this function's callers keep in them lies there or in
 * frames above. */
static inline __attribute__((always_inline)) void mal_registers_save(uintptr_t *ret_saved) {
    __asm__ volatile("movq %%rbx, (%0)\n\t"
                     "movq %%rbp, 8(%0)\n\t"
                     "movq %%r12, 16(%0)\n\t"
                     "movq %%r13, 24(%0)\n\t"
                     "movq %%r14, 32(%0)\n\t"
                     "movq %%r15, 40(%0)"
                     :
                     : "r"(ret_saved)
                     : "memory");
}

#if defined(__CET__)
#define MAL_BRANCH_TARGET "endbr64\n\t"
#else
#define MAL_BRANCH_TARGET ""
#endif

/* Defines `name`, a function without parameters, as
 *     return target(registers, stack_pointer);
 * with the callee-saved registers and the stack pointer of its caller. Not even this function's own
 * frame is needed afterwards. */
#define MAL_DEFINE_WITH_REGISTERS(name, target)                                                    \
    __asm__(".pushsection .text\n\t"                                                               \
            ".globl " #name "\n\t"                                                                 \
            ".type " #name ", @function\n" #name ":\n\t"                                           \
            ".cfi_startproc\n\t" MAL_BRANCH_TARGET "leaq 8(%rsp), %rsi\n\t"                        \
            "pushq %r15\n\t"                                                                       \
            "pushq %r14\n\t"                                                                       \
            "pushq %r13\n\t"                                                                       \
            "pushq %r12\n\t"                                                                       \
            "pushq %rbp\n\t"                                                                       \
            "pushq %rbx\n\t"                                                                       \
            "movq %rsp, %rdi\n\t"                                                                  \
            "subq $8, %rsp\n\t"                                                                    \
            ".cfi_def_cfa_offset 64\n\t"                                                           \
            "call " #target "\n\t"                                                                 \
            "addq $56, %rsp\n\t"                                                                   \
            ".cfi_def_cfa_offset 8\n\t"                                                            \
            "ret\n\t"                                                                              \
            ".cfi_endproc\n\t"                                                                     \
            ".size " #name ", . - " #name "\n\t"                                                   \
            ".popsection")

/* Defines `name`, a function without parameters or result, as a call of `target` that leaves alone
 * what lies between the address found at `offset` (a literal) in *`self` and the stack pointer,
 * where `self` is a thread variable, a pointer. A caller's frame may have been taken down since
 * that address was stored, as compilers do before a last call, and somebody may still be reading
 * it. */
#define MAL_DEFINE_BELOW(name, target, self, offset)                                               \
    __asm__(".pushsection .text\n\t"                                                               \
            ".globl " #name "\n\t"                                                                 \
            ".type " #name ", @function\n" #name ":\n\t"                                           \
            ".cfi_startproc\n\t" MAL_BRANCH_TARGET "movq " #self "@gottpoff(%rip), %rax\n\t"       \
            "movq %fs:(%rax), %rax\n\t"                                                            \
            "testq %rax, %rax\n\t"                                                                 \
            "jz 1f\n\t"                                                                            \
            "movq " #offset "(%rax), %rcx\n\t"                                                     \
            "cmpq %rcx, %rsp\n\t"                                                                  \
            "ja 2f\n\t"                                                                            \
            "jmp " #target "\n"                                                                    \
            "1:\tret\n"                                                                            \
            "2:\tmovq %rsp, %rdx\n\t"                                                              \
            ".cfi_def_cfa %rdx, 8\n\t"                                                             \
            "leaq -128(%rcx), %rsp\n\t"                                                            \
            "andq $-16, %rsp\n\t"                                                                  \
            "pushq %rdx\n\t"                                                                       \
            "subq $8, %rsp\n\t"                                                                    \
            ".cfi_undefined %rip\n\t"                                                              \
            "call " #target "\n\t"                                                                 \
            "movq 8(%rsp), %rsp\n\t"                                                               \
            ".cfi_def_cfa %rsp, 8\n\t"                                                             \
            "ret\n\t"                                                                              \
            ".cfi_endproc\n\t"                                                                     \
            ".size " #name ", . - " #name "\n\t"                                                   \
            ".popsection")

#elif defined(__aarch64__)

#define MAL_SAVED_REGISTERS 20 /* x29 x30 x19-x28 d8-d15 */

static inline uintptr_t mal_thread_pointer(void) {
    return (uintptr_t)__builtin_thread_pointer();
}

static inline const union mal_tls_entry *mal_tls_table(uintptr_t thread_pointer) {
    return *(const union mal_tls_entry *const *)thread_pointer;
}

static inline const union mal_tls_entry *mal_tls_own_table(void) {
    return mal_tls_table(mal_thread_pointer());
}

static inline uintptr_t mal_stack_pointer(void) {
    uintptr_t pointer;
    __asm__ volatile("mov %0, sp" : "=r"(pointer));
    return pointer;
}

static inline __attribute__((always_inline)) void mal_registers_save(uintptr_t *ret_saved) {
    __asm__ volatile("stp x29, x30, [%0]\n\t"
                     "stp x19, x20, [%0, #16]\n\t"
                     "stp x21, x22, [%0, #32]\n\t"
                     "stp x23, x24, [%0, #48]\n\t"
                     "stp x25, x26, [%0, #64]\n\t"
                     "stp x27, x28, [%0, #80]\n\t"
                     "stp d8, d9, [%0, #96]\n\t"
                     "stp d10, d11, [%0, #112]\n\t"
                     "stp d12, d13, [%0, #128]\n\t"
                     "stp d14, d15, [%0, #144]"
                     :
                     : "r"(ret_saved)
                     : "memory");
}

#define MAL_DEFINE_WITH_REGISTERS(name, target)                                                    \
    __asm__(".pushsection .text\n\t"                                                               \
            ".globl " #name "\n\t"                                                                 \
            ".type " #name ", %function\n" #name ":\n\t"                                           \
            ".cfi_startproc\n\t"                                                                   \
            "mov x1, sp\n\t"                                                                       \
            "stp x29, x30, [sp, #-160]!\n\t"                                                       \
            ".cfi_def_cfa_offset 160\n\t"                                                          \
            ".cfi_offset 29, -160\n\t"                                                             \
            ".cfi_offset 30, -152\n\t"                                                             \
            "stp x19, x20, [sp, #16]\n\t"                                                          \
            "stp x21, x22, [sp, #32]\n\t"                                                          \
            "stp x23, x24, [sp, #48]\n\t"                                                          \
            "stp x25, x26, [sp, #64]\n\t"                                                          \
            "stp x27, x28, [sp, #80]\n\t"                                                          \
            "stp d8, d9, [sp, #96]\n\t"                                                            \
            "stp d10, d11, [sp, #112]\n\t"                                                         \
            "stp d12, d13, [sp, #128]\n\t"                                                         \
            "stp d14, d15, [sp, #144]\n\t"                                                         \
            "mov x0, sp\n\t"                                                                       \
            "mov x29, sp\n\t"                                                                      \
            "bl " #target "\n\t"                                                                   \
            "ldp x29, x30, [sp], #160\n\t"                                                         \
            ".cfi_def_cfa_offset 0\n\t"                                                            \
            ".cfi_restore 29\n\t"                                                                  \
            ".cfi_restore 30\n\t"                                                                  \
            "ret\n\t"                                                                              \
            ".cfi_endproc\n\t"                                                                     \
            ".size " #name ", . - " #name "\n\t"                                                   \
            ".popsection")

#define MAL_DEFINE_BELOW(name, target, self, offset)                                               \
    __asm__(".pushsection .text\n\t"                                                               \
            ".globl " #name "\n\t"                                                                 \
            ".type " #name ", %function\n" #name ":\n\t"                                           \
            ".cfi_startproc\n\t"                                                                   \
            "adrp x1, :gottprel:" #self "\n\t"                                                     \
            "ldr x1, [x1, #:gottprel_lo12:" #self "]\n\t"                                          \
            "mrs x2, tpidr_el0\n\t"                                                                \
            "ldr x0, [x2, x1]\n\t"                                                                 \
            "cbz x0, 1f\n\t"                                                                       \
            "ldr x1, [x0, #" #offset "]\n\t"                                                       \
            "mov x2, sp\n\t"                                                                       \
            "cmp x2, x1\n\t"                                                                       \
            "b.hi 2f\n\t"                                                                          \
            "b " #target "\n"                                                                      \
            "1:\tret\n"                                                                            \
            "2:\tand x1, x1, #-16\n\t"                                                             \
            "mov sp, x1\n\t"                                                                       \
            ".cfi_undefined x30\n\t"                                                               \
            "stp x2, x30, [sp, #-16]!\n\t"                                                         \
            "bl " #target "\n\t"                                                                   \
            "ldp x2, x30, [sp]\n\t"                                                                \
            "mov sp, x2\n\t"                                                                       \
            "ret\n\t"                                                                              \
            ".cfi_endproc\n\t"                                                                     \
            ".size " #name ", . - " #name "\n\t"                                                   \
            ".popsection")

#else
#error "Mallard knows x86-64 and aarch64"
#endif

#endif
