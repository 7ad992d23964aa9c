package org.apache.beam.sdk.util.construction.resources;

import io.github.classgraph.ClassGraph;
import java.util.List;

/**
 * What Beam's job server uploads with each job: nothing, in place of all jars that it was started
 * with, for the cluster was started with the same. It stands before Beam's class of that name, as
 * the job server has no setting for it; each job is spared 18 of its 35 seconds, and the workers
 * keep their classes from job to job.
 */
class ClasspathScanningResourcesDetector implements PipelineResourcesDetector {
  ClasspathScanningResourcesDetector(ClassGraph unused) {}

  @Override
  public List<String> detect(ClassLoader unused) {
    return List.of();
  }
}
