/*
 * DPDK's static inline calls as real functions, and its computed macros as constants: bindgen can
 * bind neither. The leading underscore is capsule's convention.
 */
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <rte_thread.h>

/* The names of DPDK 19.11 for the RSS hash types; newer headers know them with an RTE_ prefix. */
#undef ETH_RSS_IP
#undef ETH_RSS_TCP
#undef ETH_RSS_UDP
#undef ETH_RSS_SCTP
#undef DEV_TX_OFFLOAD_MBUF_FAST_FREE
static const uint64_t ETH_RSS_IP = RTE_ETH_RSS_IP;
static const uint64_t ETH_RSS_TCP = RTE_ETH_RSS_TCP;
static const uint64_t ETH_RSS_UDP = RTE_ETH_RSS_UDP;
static const uint64_t ETH_RSS_SCTP = RTE_ETH_RSS_SCTP;
/* Hash the outer headers where there are two of them. */
static const uint64_t ETH_RSS_LEVEL_OUTERMOST = RTE_ETH_RSS_LEVEL_OUTERMOST;
static const uint64_t DEV_TX_OFFLOAD_MBUF_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;

int _rte_errno(void);
/* EAL's number for the calling thread, UINT32_MAX (LCORE_ID_ANY) when it has none. */
unsigned int _rte_lcore_id(void);

/* rte_pktmbuf_pool_create whose mbufs may cross pages, and are known to no device. */
struct rte_mempool *_rte_pktmbuf_pool_packed(const char *name, unsigned int count,
	unsigned int cache, uint16_t private_size, uint16_t room, int socket);
struct rte_mbuf *_rte_pktmbuf_alloc(struct rte_mempool *pool);
int _rte_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count);
void _rte_pktmbuf_free(struct rte_mbuf *mbuf);
void _rte_mempool_put_bulk(struct rte_mempool *pool, void *const *objects, unsigned int count);

uint16_t _rte_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t _rte_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
/* Where drivers put a frame's time, and the flag of mbufs that have one; fails when none does. */
int _rte_mbuf_timestamp(int *offset, uint64_t *flag);
/* The link without waiting for it. The layout of struct rte_eth_link changed more than once. */
int _rte_eth_link(uint16_t port, uint32_t *mbps, int *up);
