import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.RetryOneTime;

/**
 * Curator's lock, measured. Same command line and output as `zk-bench client`.
 *
 * <p>CuratorLock curator HOST:PORT lock N LENGTH SIZE
 */
public class CuratorLock {
    public static void main(String[] args) throws Exception {
        Driver.parse(args);
        if (!Driver.work.equals("lock")) Runtime.getRuntime().halt(Driver.NO_SUCH_CALL);
        CuratorFramework curator =
                CuratorFrameworkFactory.newClient(args[1], 30000, 15000, new RetryOneTime(100));
        curator.start();
        curator.blockUntilConnected();
        Driver.Worker[] workers = Driver.workers(Driver.n);
        Driver.measure(workers, Driver.threads(workers, worker -> () -> {
            InterProcessMutex lock = new InterProcessMutex(curator, "/zk-bench-lock");
            long start;
            do {
                start = System.nanoTime();
                lock.acquire();
                lock.release();
            } while (worker.took(start));
        }), args[4]);
        curator.close();
        Runtime.getRuntime().halt(0);
    }
}
