/* A plugin for qemu-user: counts the instructions of the emulated program between two markers, and of these the ones of each kind.
 *
 * `mov x27, x27` begins a region, `mov x28, x28` ends it; a program has as many as it likes. At the end of the program one line with
 * the totals is written to the file that the argument `out=FILE` names: all, integer dot and matrix products, other vector
 * instructions, loads, stores.
 *
 * Declarations are those of qemu's plugin interface, version 1; only what is used here.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, void *), void *user);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*cb)(unsigned int, void *), int flags, void *user);

int qemu_plugin_version = 1;

enum { BEGIN = 0xaa1b03fb, END = 0xaa1c03fc };
enum { ALL, DOT, VECTOR, LOAD, STORE, KINDS };

static int counting;
static uint64_t counts[KINDS];
static char path[4096];

static void begin(unsigned int cpu, void *user) {
  (void)cpu, (void)user;
  counting = 1;
}

static void end(unsigned int cpu, void *user) {
  (void)cpu, (void)user;
  counting = 0;
}

static void count(unsigned int cpu, void *user) {
  (void)cpu;
  if (counting) {
    counts[ALL]++;
    if (user != NULL) ++*(uint64_t *)user;
  }
}

/* The kind of an instruction by its encoding, as the Arm Architecture Reference Manual groups them (C4.1). */
static uint64_t *kind(uint32_t word) {
  uint32_t group = word >> 25 & 15;
  int sdot = (word & 0xbfe0fc00) == 0x0e809400 || (word & 0xbfc0f400) == 0x0f80e000;
  int smmla = (word & 0xffe0fc00) == 0x4e80a400;
  if (sdot || smmla) return &counts[DOT];
  if ((group & 7) == 7) return &counts[VECTOR];
  if ((group & 5) != 4) return NULL;
  /* Loads and stores: pairs tell the direction by bit 22, single registers by bits 23 and 22 (with SIMD registers by 22). */
  int simd = word >> 26 & 1;
  int opc = (int)(word >> 22 & 3);
  int pair = (word >> 27 & 7) == 5;
  int load = pair || simd ? opc & 1 : opc != 0;
  return &counts[load ? LOAD : STORE];
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  (void)id;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
    struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
    uint32_t word;
    memcpy(&word, qemu_plugin_insn_data(insn), sizeof word);
    if (word == (uint32_t)BEGIN) {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, 0, NULL);
    } else if (word == (uint32_t)END) {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, end, 0, NULL);
    } else {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, count, 0, kind(word));
    }
  }
}

static void finish(qemu_plugin_id_t id, void *user) {
  (void)id, (void)user;
  FILE *out = fopen(path, "w");
  if (out == NULL) return;
  for (int i = 0; i < KINDS; i++) fprintf(out, "%llu%c", (unsigned long long)counts[i], i + 1 < KINDS ? ' ' : '\n');
  fclose(out);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv) {
  (void)info;
  for (int i = 0; i < argc; i++) {
    if (strncmp(argv[i], "out=", 4) == 0) snprintf(path, sizeof path, "%s", argv[i] + 4);
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, finish, NULL);
  return path[0] == 0;
}
