/* library.cpp - the part of the CUDA runtime that loads users' kernels, and knows kernels by name.
**
** A library is a shared object that nvrtc.cpp made: opened from memory, for good. Names are those that the compiler
** gave: of users' kernels by dladdr, of the module's own, which are hidden, from the symbols of its file. */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "user.h"

#include "scheduler.h"

struct simtLibrary {
  const simtObject *object;
};

using namespace simt;

/* ---------------------------------------------------------------- libraries */

/* Bytes of the object at `code`: up to the end of its table of sections, which is last. 0 when it is none. */
static size_t size_of(const void *code) {
  ElfW(Ehdr) head;
  memcpy(&head, code, sizeof head.e_ident);
  if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return 0;
  memcpy(&head, code, sizeof head);
  if (head.e_type != ET_DYN || head.e_machine == EM_CUDA) return 0;
  return head.e_shoff + size_t{ head.e_shentsize } * head.e_shnum;
}

/* The file stays open: the system's loader takes an object of the same path for the one that it has. */
static void *open_in_memory(const void *code, size_t size) {
  int file = memfd_create("kernel", MFD_CLOEXEC);
  if (file < 0) return nullptr;
  void *object = nullptr;
  std::string path = "/proc/self/fd/" + std::to_string(file);
  const char *from = static_cast<const char *>(code);
  for (size_t at = 0; at < size;) {
    ssize_t n = write(file, from + at, size - at);
    if (n <= 0) break;
    at += static_cast<size_t>(n);
    if (at == size) object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  }
  if (object == nullptr) close(file);
  return object;
}

cudaError_t cudaLibraryLoadData(cudaLibrary_t *out, const void *code, void *, void *, unsigned, void *, void *,
                                unsigned) {
  size_t size = size_of(code);
  if (size == 0) return cudaErrorNoKernelImageForDevice;
  void *opened = open_in_memory(code, size);
  const void *object = opened != nullptr ? dlsym(opened, "simt_object") : nullptr;
  if (object == nullptr) {
    fprintf(stderr, "simt: %s\n", dlerror());
    return cudaErrorNoKernelImageForDevice;
  }
  *out = new simtLibrary{ static_cast<const simtObject *>(object) };
  add_shared_variables((*out)->object->begin, (*out)->object->end);
  return cudaSuccess;
}

cudaError_t cudaLibraryGetKernel(cudaKernel_t *out, cudaLibrary_t library, const char *name) {
  for (int i = 0; i < library->object->kernels; i++) {
    const simtKernel *kernel = &library->object->kernel[i];
    Dl_info info;
    bool known = dladdr(kernel->address, &info) != 0 && info.dli_saddr == kernel->address;
    if (!known || strcmp(info.dli_sname, name) != 0) continue;
    *out = kernel;
    return cudaSuccess;
  }
  return cudaErrorSymbolNotFound;
}

cudaError_t cudaLibraryUnload(cudaLibrary_t library) {
  delete library; /* the object stays */
  return cudaSuccess;
}

cudaError_t cudaKernelSetAttributeForDevice(cudaKernel_t kernel, cudaFuncAttribute attribute, int value, int) {
  return cudaFuncSetAttribute(kernel, attribute, value);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *kernel, void **arguments) {
  return launch(*config, kernel, static_cast<cudaKernel_t>(kernel)->bind(arguments));
}

/* ---------------------------------------------------------------- what is known of kernels */

/* The functions of this module's file, by address. */
static std::map<const void *, std::string> read_names() {
  std::map<const void *, std::string> names;
  Dl_info info;
  if (dladdr(reinterpret_cast<const void *>(&read_names), &info) == 0) return names;
  std::ifstream file(info.dli_fname, std::ios::binary);
  std::vector<char> bytes{ std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>() };
  if (bytes.size() < sizeof(ElfW(Ehdr))) return names;
  auto head = reinterpret_cast<const ElfW(Ehdr) *>(bytes.data());
  auto section = reinterpret_cast<const ElfW(Shdr) *>(bytes.data() + head->e_shoff);
  for (int i = 0; i < head->e_shnum; i++) {
    if (section[i].sh_type != SHT_SYMTAB) continue;
    auto symbol = reinterpret_cast<const ElfW(Sym) *>(bytes.data() + section[i].sh_offset);
    const char *text = bytes.data() + section[section[i].sh_link].sh_offset;
    for (size_t k = 0; k < section[i].sh_size / sizeof *symbol; k++)
      if (symbol[k].st_value != 0)
        names[static_cast<const char *>(info.dli_fbase) + symbol[k].st_value] = text + symbol[k].st_name;
  }
  return names;
}

cudaError_t cudaFuncGetName(const char **name, const void *kernel) {
  static const std::map<const void *, std::string> names = read_names();
  auto found = names.find(kernel);
  if (found == names.end()) return cudaErrorSymbolNotFound;
  *name = found->second.c_str();
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *, const void *) { return cudaErrorNotSupported; }

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *, const void *, int, size_t) {
  return cudaErrorNotSupported;
}
